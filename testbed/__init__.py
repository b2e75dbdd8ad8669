"""Real pods and real guests for the tests and the demo. Not part of the wheel.

once.py          what several runs share on disk is made by one
netns.py         network namespaces, and programs inside them
pods.py          a node and a pod as a CNI leaves them
snapshot.py      all that can be seen of a pod, to compare before and after
watch.py         what changes in a namespace while one looks
agent.py         vmnet, run as its users run it
facts.py         what a pod had and what a guest got, read with the same eyes
tap_guest.py     a guest without a VM: the tap joined to a veth
tap_copier.py    the process at that joint
jail.py          the walls around a DHCP client, so that it cannot touch the machine
clients.py       real DHCP clients
kernel.py        a distribution kernel and an initramfs for the guest
qemu.py          a real guest
requirements.py  what of all this a machine lacks
demo.py          all of it as a story
"""
