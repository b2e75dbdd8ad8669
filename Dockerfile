# Two images from one file:
#
#   podman build --target agent    -t vmnet .            vmnet alone
#   podman build --target launcher -t vmnet-launcher .   vmnet, libvirt and QEMU
#
# BASE is any image of the Debian family with Python 3.11 or newer in its repositories. With your own launcher's image
# as BASE, target `agent` is that launcher with vmnet in it.
ARG BASE=debian:bookworm-slim

# What every image needs while it runs.
FROM ${BASE} AS runtime
# A suite's security updates replace its packages: pinned versions could not be installed a month later.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends nftables python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log \
    && mkdir --mode=0755 /run/vmnet
ENV PATH=/opt/vmnet/bin:${PATH}
ENTRYPOINT ["/opt/vmnet/bin/vmnet"]
CMD ["--help"]
LABEL org.opencontainers.image.title="vmnet" \
      org.opencontainers.image.description="Hands a pod's network identity to the virtual machine inside it" \
      org.opencontainers.image.licenses="GPL-2.0-only"

# pip and the build backend live in /build; /opt/vmnet gets nothing but what runs.
FROM runtime AS tools
WORKDIR /src
# hadolint ignore=DL3008,DL3009
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && python3 -m venv /build \
    && python3 -m venv --without-pip /opt/vmnet
COPY requirements-build.lock ./
RUN /build/bin/pip install --no-cache-dir --require-hashes -r requirements-build.lock

FROM tools AS builder
COPY requirements-runtime.lock ./
# The bytecode is never checked against its source: neither can change in an image, and clocks and copies cannot
# make it stale. With a read-only root nobody could write it later, and every start would compile anew.
RUN /build/bin/pip --python /opt/vmnet/bin/python install --no-cache-dir --no-compile \
        --require-hashes -r requirements-runtime.lock \
    && find /opt/vmnet/bin -type f -delete \
    && /opt/vmnet/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/vmnet/lib
COPY LICENSE README.md pyproject.toml ./
COPY tools/*.py tools/
COPY vmnet vmnet
RUN /build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /build/bin/pip --python /opt/vmnet/bin/python install --no-cache-dir --no-compile --no-deps --no-index \
        /wheels/vmnet-*.whl \
    && /opt/vmnet/bin/python -m compileall -q --invalidation-mode unchecked-hash \
        /opt/vmnet/lib/python3*/site-packages/vmnet
COPY --chmod=0755 deploy/image/vmnet /opt/vmnet/bin/vmnet

# libvirt-python is distributed as source only; its compiler stays in this stage.
FROM tools AS libvirt-wheel
# hadolint ignore=DL3008,DL3009
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev libvirt-dev pkg-config python3-dev
COPY requirements-launcher.lock ./
RUN /build/bin/pip wheel --no-cache-dir --no-build-isolation --require-hashes --wheel-dir /wheels \
        -r requirements-launcher.lock

FROM builder AS launcher-builder
COPY --from=libvirt-wheel /wheels/libvirt_python-*.whl /wheels/
RUN /build/bin/pip --python /opt/vmnet/bin/python install --no-cache-dir --no-compile --no-deps --no-index \
        /wheels/libvirt_python-*.whl \
    && /opt/vmnet/bin/python -m compileall -q --invalidation-mode unchecked-hash \
        /opt/vmnet/lib/python3*/site-packages/libvirt*.py

FROM runtime AS launcher
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        ipxe-qemu libvirt-clients libvirt-daemon libvirt-daemon-system qemu-system-data qemu-system-x86 qemu-utils \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log \
    && rm /etc/libvirt/nwfilter/*.xml && mkdir -p /etc/libvirt/secrets /etc/libvirt/storage/autostart
COPY deploy/launcher/ /etc/libvirt/
COPY --from=launcher-builder /opt/vmnet /opt/vmnet
ARG VERSION=unknown
LABEL org.opencontainers.image.version="${VERSION}"

# Last, so that a build that names no target makes the small one.
FROM runtime AS agent
COPY --from=builder /opt/vmnet /opt/vmnet
ARG VERSION=unknown
LABEL org.opencontainers.image.version="${VERSION}"
