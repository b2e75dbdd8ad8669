// Read flowcharts with Mermaid itself; print the nodes and edges it has found, one JSON object a file.
import { readFileSync } from 'node:fs'
import { JSDOM } from 'jsdom'

globalThis.window = new JSDOM().window // Mermaid cleans texts in a document's name
globalThis.document = globalThis.window.document
const { default: mermaid } = await import('mermaid')

for (const path of process.argv.slice(2)) {
  const text = readFileSync(path, 'utf8')
  await mermaid.parse(text) // an error where it is no diagram
  const { db } = await mermaid.mermaidAPI.getDiagramFromText(text)
  const nodes = [...db.getVertices().values()].map(node => [node.id, node.text])
  const edges = db.getEdges().map(edge => [edge.start, edge.end])
  console.log(JSON.stringify({ nodes, edges, title: db.getAccTitle() }))
}
