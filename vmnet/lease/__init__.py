"""From the pod's facts to what the guest is told, by DHCP, by router advertisements or in a file. Pure."""
