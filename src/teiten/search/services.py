"""Names of services and protocols, for people who do not know every number.

A small table of what telescopes see most; the registry is IANA
service-names-port-numbers. A port without a name has none here: no guess.
"""

from __future__ import annotations

PROTOCOLS: dict[str, int] = {
    "icmp": 1,
    "igmp": 2,
    "ipip": 4,
    "tcp": 6,
    "udp": 17,
    "dccp": 33,
    "ipv6": 41,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "icmpv6": 58,
    "ospf": 89,
    "sctp": 132,
    "udplite": 136,
}
PROTOCOL_NAMES: dict[int, str] = {number: name for name, number in PROTOCOLS.items()}

_TCP = 6
_UDP = 17
_TCP_SERVICES: dict[int, str] = {
    20: "ftp-data", 21: "ftp", 22: "ssh", 23: "telnet", 25: "smtp", 53: "dns", 80: "http", 81: "http-alt",
    88: "kerberos", 102: "iso-tsap", 110: "pop3", 111: "portmap", 135: "msrpc", 139: "netbios-ssn",
    143: "imap", 179: "bgp", 389: "ldap", 443: "https", 445: "smb", 465: "smtps", 502: "modbus",
    515: "printer", 548: "afp", 554: "rtsp", 587: "submission", 631: "ipp", 636: "ldaps", 853: "dns-tls",
    873: "rsync", 902: "vmware", 990: "ftps", 993: "imaps", 995: "pop3s", 1080: "socks", 1194: "openvpn",
    1433: "mssql", 1521: "oracle", 1723: "pptp", 1883: "mqtt", 2000: "cisco-sccp", 2049: "nfs", 2082: "cpanel",
    2181: "zookeeper", 2222: "ssh-alt", 2323: "telnet-alt", 2375: "docker", 2376: "docker-tls", 2379: "etcd",
    3000: "http-dev", 3128: "squid", 3306: "mysql", 3389: "rdp", 4443: "https-alt", 4444: "metasploit",
    4567: "tr-069-alt", 4786: "cisco-smi", 5000: "upnp", 5038: "asterisk", 5060: "sip", 5061: "sips",
    5222: "xmpp", 5432: "postgresql", 5555: "adb", 5601: "kibana", 5672: "amqp", 5900: "vnc", 5984: "couchdb",
    5985: "winrm", 6000: "x11", 6379: "redis", 6443: "kubernetes", 7001: "weblogic", 7547: "tr-069",
    8000: "http-alt", 8008: "http-alt", 8009: "ajp", 8080: "http-alt", 8081: "http-alt", 8086: "influxdb",
    8088: "http-alt", 8089: "splunkd", 8291: "winbox", 8333: "bitcoin", 8443: "https-alt", 8545: "ethereum",
    8728: "mikrotik-api", 8883: "mqtt-tls", 8888: "http-alt", 9000: "http-alt", 9042: "cassandra",
    9090: "http-alt", 9092: "kafka", 9100: "jetdirect", 9200: "elasticsearch", 9418: "git", 9443: "https-alt",
    10000: "webmin", 10250: "kubelet", 11211: "memcached", 15672: "rabbitmq", 20000: "dnp3", 25565: "minecraft",
    27017: "mongodb", 37215: "huawei-hg532", 44818: "ethernet-ip", 49152: "upnp-alt", 50070: "hdfs",
    52869: "realtek-sdk", 60023: "telnet-alt",
}  # fmt: skip
_UDP_SERVICES: dict[int, str] = {
    17: "qotd", 19: "chargen", 53: "dns", 67: "dhcp", 69: "tftp", 111: "portmap", 123: "ntp", 137: "netbios-ns",
    138: "netbios-dgm", 161: "snmp", 177: "xdmcp", 389: "cldap", 443: "quic", 500: "isakmp", 514: "syslog",
    520: "rip", 523: "db2", 623: "ipmi", 1194: "openvpn", 1434: "mssql-browser", 1604: "citrix", 1701: "l2tp",
    1812: "radius", 1900: "ssdp", 2049: "nfs", 3283: "ard", 3389: "rdp", 3478: "stun", 3702: "ws-discovery",
    4500: "ipsec-nat-t", 5060: "sip", 5093: "sentinel", 5351: "nat-pmp", 5353: "mdns", 5632: "pcanywhere",
    5683: "coap", 6881: "bittorrent", 10001: "ubiquiti", 11211: "memcached", 17185: "wdb", 27015: "source-engine",
    30718: "lantronix", 32100: "cs2-p2p", 33434: "traceroute", 37810: "dahua-dvr", 47808: "bacnet",
    51820: "wireguard", 53413: "netis",
}  # fmt: skip


def name_service(port: int, protocol: int) -> str | None:
    """Give the usual service of a port, or None."""
    table = {_TCP: _TCP_SERVICES, _UDP: _UDP_SERVICES}.get(protocol, {})
    return table.get(port)


#: TCP, UDP, DCCP, SCTP: protocols whose ports are read (:mod:`teiten.traffic.parse_transport`); those of others are 0.
WITH_PORTS = frozenset({6, 17, 33, 132})


def name_protocol(number: int) -> str:
    """Give the protocol's word in the query language: a name, or the number itself."""
    return PROTOCOL_NAMES.get(number, str(number))
