#!/bin/sh
# What somebody without vmnet would write: the same plumbing with `ip -batch`, and dnsmasq as the DHCP server.
# It saves nothing, verifies nothing, and knows one layout. Usage: plumb-by-hand.sh STATE_DIR
set -eu
set -- "$1" $(ip -4 -o address show dev eth0 | awk '{split($4, part, "/"); print part[1], part[2]}')
state=$1 address=$2 length=$3
address6=$(ip -6 -o address show dev eth0 scope global | awk '{split($4, part, "/"); print part[1]; exit}')
gateway=$(ip -4 route show default | awk '{print $3}')
set -- $(ip -o link show dev eth0 | awk '{for (i = 1; i < NF; i++) if ($i == "mtu" || $i == "link/ether") print $(i + 1)}')
mtu=$1 mac=$2
ip -batch - <<EOF
link add k6t-eth0 address 02:76:6d:00:00:01 mtu $mtu type bridge stp_state 0 mcast_snooping 0
link set k6t-eth0 addrgenmode none
tuntap add tap0 mode tap vnet_hdr
link set tap0 addrgenmode none
link set tap0 mtu $mtu master k6t-eth0
link set tap0 type bridge_slave learning off
address flush dev eth0
link set eth0 addrgenmode none
link set eth0 name eth0-nic
link set eth0-nic address 02:76:6d:00:00:02 master k6t-eth0
link set eth0-nic type bridge_slave learning off
link add eth0 address $mac mtu $mtu type bridge stp_state 0 mcast_snooping 0
link set eth0 addrgenmode none
link set eth0 up
address add $address/$length dev eth0 noprefixroute
address add 169.254.75.10/32 dev k6t-eth0
link set k6t-eth0 up
link set tap0 up
EOF
bridge fdb add "$mac" dev tap0 master static
set --
if [ "$address6" ]; then
    ip address add fe80::766d/64 dev k6t-eth0 nodad
    ip address add "${address6%:*}:ffff/64" dev k6t-eth0 nodad
    # The client that measures speaks DHCPv6 alone, and no neighbour discovery.
    ip neighbour add fe80::5 lladdr "$mac" dev k6t-eth0 nud permanent
    set -- --dhcp-range="$address6,$address6,64,infinite" --enable-ra
fi
exec dnsmasq --conf-file=/dev/null --port=0 --no-ping --interface=k6t-eth0 --bind-dynamic --except-interface=lo \
    --shared-network=k6t-eth0,"$address" --dhcp-range="$address",static,255.255.255.0,infinite \
    --dhcp-host="$mac","$address" --dhcp-option=option:router,"$gateway" --dhcp-option=option:mtu,"$mtu" \
    --pid-file="$state/dnsmasq.pid" --dhcp-leasefile="$state/leases" --dhcp-authoritative --user=root --quiet-dhcp "$@"
