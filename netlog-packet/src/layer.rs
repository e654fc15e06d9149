//! Which header comes next.

/// The decoder of the next header, if there is one here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    Ethernet,
    Vlan(Tag),
    Arp,
    Ipv4,
    Ipv6,
    Icmp,
    Igmp,
    Tcp,
    Udp,
    Icmpv6,
    Sctp,
    /// Nothing that this crate decodes.
    None,
}

/// Whose tag a VLAN header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// Customer tag (IEEE 802.1Q, EtherType 0x8100).
    Customer,
    /// Service tag (IEEE 802.1ad, EtherType 0x88a8).
    Service,
}

/// EtherTypes (IANA "IEEE 802 Numbers").
pub mod ethertype {
    /// Internet Protocol version 4.
    pub const IPV4: u16 = 0x0800;
    /// Address Resolution Protocol.
    pub const ARP: u16 = 0x0806;
    /// IEEE 802.1Q customer VLAN tag.
    pub const VLAN: u16 = 0x8100;
    /// Internet Protocol version 6.
    pub const IPV6: u16 = 0x86dd;
    /// IEEE 802.1ad service VLAN tag.
    pub const SVLAN: u16 = 0x88a8;
}

/// Protocol numbers (IANA "Assigned Internet Protocol Numbers").
pub mod protocol {
    /// IPv6 hop-by-hop options.
    pub const HOPOPTS: u8 = 0;
    /// Internet Control Message Protocol.
    pub const ICMP: u8 = 1;
    /// Internet Group Management Protocol.
    pub const IGMP: u8 = 2;
    /// Transmission Control Protocol.
    pub const TCP: u8 = 6;
    /// User Datagram Protocol.
    pub const UDP: u8 = 17;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// Authentication header.
    pub const AH: u8 = 51;
    /// Internet Control Message Protocol for IPv6.
    pub const ICMPV6: u8 = 58;
    /// IPv6 destination options.
    pub const DSTOPTS: u8 = 60;
    /// Stream Control Transmission Protocol.
    pub const SCTP: u8 = 132;
}

impl Layer {
    pub(crate) const fn of_ethertype(ethertype: u16) -> Self {
        match ethertype {
            ethertype::IPV4 => Self::Ipv4,
            ethertype::ARP => Self::Arp,
            ethertype::VLAN => Self::Vlan(Tag::Customer),
            ethertype::IPV6 => Self::Ipv6,
            ethertype::SVLAN => Self::Vlan(Tag::Service),
            _ => Self::None,
        }
    }

    /// Neutron looks up the protocol number alone: ICMPv6 in IPv4 and ICMP in
    /// IPv6 are shown as such.
    pub(crate) const fn of_protocol(protocol: u8) -> Self {
        match protocol {
            protocol::ICMP => Self::Icmp,
            protocol::IGMP => Self::Igmp,
            protocol::TCP => Self::Tcp,
            protocol::UDP => Self::Udp,
            protocol::ICMPV6 => Self::Icmpv6,
            protocol::SCTP => Self::Sctp,
            _ => Self::None,
        }
    }
}
