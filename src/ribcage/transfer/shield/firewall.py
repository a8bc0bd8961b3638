"""An nftables file that leaves the old PACS no door but the shield.

Rules, in order:
1. The PACS on this machine: from outside nothing reaches its ports; over loopback the shield's user alone does, and
   the user it runs as itself.
2. The PACS on an isolated interface: from this machine the shield's user alone; nothing is forwarded to it.
3. The file replaces its own table and touches no other; loading it twice changes nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from ribcage.transfer.limits import OldPacs

TABLE = "ribcage_shield"


def ruleset(pacs: OldPacs, ports: Sequence[int], users: Sequence[int]) -> str:
    """Text for `nft -f`. `ports`: all that the PACS listens on; `users`: ids of those who may call it."""
    closed = ", ".join(str(port) for port in sorted({pacs.port, *ports}))
    may = ", ".join(str(user) for user in sorted(set(users)))
    address = ipaddress.ip_address(pacs.address)
    family = "ip" if address.version == 4 else "ip6"
    lines = [
        "#!/usr/sbin/nft -f",
        "# Written by `ribcage shield init`: nothing but the shield reaches the old PACS.",
        f"table inet {TABLE}",
        f"delete table inet {TABLE}",
        f"table inet {TABLE} {{",
    ]
    if address.is_loopback:
        lines += [
            "\tchain arriving {",
            "\t\ttype filter hook input priority -10; policy accept;",
            f'\t\tiifname != "lo" tcp dport {{ {closed} }} counter drop',
            f'\t\tiifname != "lo" udp dport {{ {closed} }} counter drop',
            "\t}",
        ]
        whither = f'oifname "lo" tcp dport {{ {closed} }}'
    else:
        lines += [
            "\tchain passing {",
            "\t\ttype filter hook forward priority -10; policy accept;",
            f"\t\t{family} daddr {address} counter drop",
            "\t}",
        ]
        whither = f"{family} daddr {address} tcp dport {{ {closed} }}"
    lines += [
        "\tchain leaving {",
        "\t\ttype filter hook output priority -10; policy accept;",
        f"\t\t{whither} meta skuid != {{ {may} }} counter reject with tcp reset",
        "\t}",
        "}",
        "",
    ]
    return "\n".join(lines)
