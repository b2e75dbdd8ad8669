"""The words that may stand in a metric's label: what the server says of frames, as its rooms have it.

A server that a guest has taken over may say any word, and as many as it likes: each would be a time series for
ever. What is not here is counted as `other`.
"""

from __future__ import annotations

from typing import Final

OTHER: Final = "other"
_DHCPV4 = """
    offer ack_rapid_commit ack_selecting ack_init_reboot ack_renewing ack_rebinding ack_inform
    nak_selecting nak_init_reboot nak_renewing nak_rebinding
    other_server decline release relayed invalid_selecting invalid_request
    foreign_decline foreign_release foreign_inform
"""
_DHCPV6 = """
    advertise advertise_without_address reply_rapid_commit reply_request reply_renew reply_rebind
    reply_without_address reply_too_long confirm confirm_without_address not_on_link
    information information_with_ia foreign_information no_client_id no_server_id server_id_to_all
"""
_REST = """
    arp_reply rebound router_solicitation router_advertisement neighbour_solicitation gateway_found gateway_moved
"""
EVENTS: Final = frozenset(f"{_DHCPV4} {_DHCPV6} {_REST}".split())
"""What happened (vmnet.server.dhcp.answer, vmnet.server.ipv6.answer, vmnet.server)."""
ALWAYS_COUNTED: Final = {
    "ipv4": ("offer", "ack_selecting", "decline", "other_server"),
    "ipv6": ("advertise", "reply_request", "decline", "other_server"),
}
"""Events of a family that are 0 before the first comes: a counter that begins with 1 never rose for Prometheus."""
_IPV4_REASONS = """
    foreign_source_mac foreign_chaddr short vlan not_ipv4 ip_header fragment not_udp ip_length not_port_67
    udp_length udp_checksum bootp_op hardware_type cookie option_past_end too_many_options no_message_type
    message_type address_length not_served ran_out too_long queue_full
"""
_IPV6_REASONS = """
    ipv6_foreign_source_mac ipv6_not_served ipv6_ran_out ipv6_short ipv6_vlan not_ipv6 ipv6_length
    ipv6_extension_header ipv6_source ipv6_checksum
    dhcpv6_not_udp dhcpv6_port dhcpv6_udp_length dhcpv6_source dhcpv6_destination dhcpv6_message_type
    dhcpv6_option_past_end dhcpv6_option_twice dhcpv6_too_many_options dhcpv6_too_many_ias
    dhcpv6_too_many_addresses dhcpv6_duid_length dhcpv6_ia_length dhcpv6_ia_overrun dhcpv6_ia_twice
    dhcpv6_address_length dhcpv6_option_length
    nd_not_solicitation nd_hop_limit nd_code nd_length nd_option_length nd_too_many_options
    nd_link_layer_without_source nd_target nd_dad_destination
"""
REASONS: Final = frozenset(f"{_IPV4_REASONS} {_IPV6_REASONS}".split())
"""Why a frame was ignored (vmnet.server.dhcp.request, vmnet.ipv6, vmnet.server)."""
OPERATIONS: Final = frozenset(("receive", "send"))
"""What of the tap's sockets can fail (vmnet.server.loop)."""
