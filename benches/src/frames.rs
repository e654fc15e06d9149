//! Frames that security groups see most.

/// A TCP SYN with the options that Linux sends: maximum segment size, SACK permitted, timestamps
/// and window scale.
pub const TCP_SYN: &str = "fa163e445566fa163e11223308004500003c123440004006f9d30a000005c0a86407\
    a8ca01bb1122334400000000a002faf05afe0000020405b40402080a075bcd150000000001030307";

/// A DNS query.
pub const UDP_DNS: &str = "fa163e445566fa163e11223308004500004b12340000401139ba0a000005c0a86407\
    9c4000350037f51ebeef0100000100000000000003777777076578616d706c6503636f6d096f70656e737461636b\
    036f72670000010001";

/// A neighbour solicitation.
pub const ICMPV6_NS: &str = "3333ff000007fa163e11223386dd6000000000203afffe800000000000000000000000\
    000001ff0200000000000000000001ff0000078700f2fa0000000020010db8000000000000000000000007\
    0101fa163e112233";

/// A TCP segment with a VLAN tag.
pub const VLAN_TCP: &str = "fa163e445566fa163e1122338100606508004500004312340000400639cd0a000005\
    c0a8640700010016ffffffff80000000501820008d300000474554202f20485454502f312e310d0a486f73743a20\
    780d0a0d0a";

/// A later fragment.
pub const IPV4_FRAGMENT: &str = "fa163e445566fa163e112233080045000054123420b9401118f80a000005c0\
    a8640742424242424242424242424242424242424242424242424242424242424242424242424242424242424242\
    424242424242424242424242424242424242424242";

/// All of them, by name.
pub const ALL: [(&str, &str); 5] = [
    ("tcp_syn", TCP_SYN),
    ("udp_dns", UDP_DNS),
    ("icmpv6_ns", ICMPV6_NS),
    ("vlan_tcp", VLAN_TCP),
    ("ipv4_fragment", IPV4_FRAGMENT),
];

/// The bytes of a frame; what is not hex is left out.
pub fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .filter_map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
