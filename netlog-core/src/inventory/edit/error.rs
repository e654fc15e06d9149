//! What can be wrong with a request to change the inventory.

use crate::request::RequestError;

/// Why the inventory is not changed.
///
/// The text is what Neutron's API answers as `message`; [`kind`](Self::kind) is its `type`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// The request itself.
    #[error(transparent)]
    Request(#[from] RequestError),

    /// There is no such security group, or not for this caller. Several are separated by commas.
    #[error("Security group {0} does not exist")]
    GroupNotFound(String),
    /// There is no such address group.
    #[error("Address group {0} could not be found.")]
    AddressGroupNotFound(String),
    /// Ports use the security group.
    #[error("Security Group {0} in use.")]
    GroupInUse(String),
    /// The name of the group that each project has.
    #[error("Default security group already exists.")]
    DefaultExists,
    /// The group that each project has keeps its name.
    #[error("Updating default security group not allowed.")]
    UpdateDefault,
    /// The group that each project has is there for good.
    #[error("Insufficient rights for removing default security group.")]
    RemoveDefault,
    /// A port's security groups track connections or do not, all of them.
    #[error(
        "Error Cannot apply both stateful and stateless security groups on the same port at the \
         same time while attempting the operation."
    )]
    StatefulAndStateless,

    /// A protocol that is neither a number nor known by name. Holds it as Python prints it.
    #[error(
        "Security group rule protocol {0} not supported. Only protocol values (None, 'any', 'ah', \
         'dccp', 'egp', 'esp', 'gre', 'hopopt', 'icmp', 'igmp', 'ip', 'ipip', 'ipv6-encap', \
         'ipv6-frag', 'ipv6-icmp', 'icmpv6', 'ipv6-nonxt', 'ipv6-opts', 'ipv6-route', 'ospf', \
         'pgm', 'rsvp', 'sctp', 'tcp', 'udp', 'udplite', 'vrrp') and integer representations \
         [0 to 255] are supported."
    )]
    Protocol(String),
    /// An address family that there is not. Holds it as Python prints it.
    #[error(
        "Security group rule for ethertype '{0}' not supported. Allowed values are ['IPv4', 'IPv6']."
    )]
    Ethertype(String),
    /// A protocol of the other address family.
    #[error("Invalid ethertype {ethertype} for protocol {protocol}.")]
    EthertypeOfProtocol {
        /// The family.
        ethertype: String,
        /// The protocol.
        protocol: String,
    },
    /// A prefix of the other address family.
    #[error("Conflicting value ethertype {ethertype} for CIDR {prefix}")]
    EthertypeOfPrefix {
        /// The family.
        ethertype: String,
        /// The prefix.
        prefix: String,
    },
    /// What is no prefix. Holds it as Python prints it.
    #[error("Invalid CIDR {0} given as IP prefix.")]
    Prefix(String),
    /// More than one remote side.
    #[error(
        "Only one of remote_ip_prefix or remote_group_id or remote_address_group_id may be \
         provided."
    )]
    Remotes,
    /// What is no port. Holds it as Python prints it.
    #[error("Invalid value for port {0}")]
    PortValue(String),
    /// Half a range of ports, or one from its end to its beginning.
    #[error("For TCP/UDP protocols, port_range_min must be <= port_range_max")]
    PortRange,
    /// Ports without a protocol.
    #[error("Must also specify protocol if port range is given.")]
    PortsWithoutProtocol,
    /// Ports of a protocol that has none.
    #[error(
        "Ports cannot be specified for protocol {0}. Ports are only supported for DCCP, SCTP, TCP, \
         UDP, UDPLITE."
    )]
    PortsOfProtocol(u8),
    /// An ICMP type or code that there is not.
    #[error("Invalid value for ICMP {field} ({attribute}) {value}. It must be 0 to 255.")]
    Icmp {
        /// `type` or `code`.
        field: &'static str,
        /// The attribute that it is written in.
        attribute: &'static str,
        /// The value.
        value: u64,
    },
    /// An ICMP code without a type.
    #[error(
        "ICMP code (port-range-max) {0} is provided but ICMP type (port-range-min) is missing."
    )]
    IcmpCode(u64),
    /// The group has such a rule. Holds its id.
    #[error("Security group rule already exists. Rule id is {0}.")]
    RuleExists(String),
    /// Two of the rules that are to be made are alike.
    #[error("Duplicate Security Group Rule in POST.")]
    RuleTwice,
    /// The rules that are to be made are of several groups.
    #[error("Only allowed to update rules for one security profile at a time")]
    SeveralGroups,
    /// The rules that are to be made are of several projects.
    #[error("Multiple project_ids in bulk security group rule create not allowed")]
    SeveralProjects,

    /// A value that is no list.
    #[error("Invalid input for {attribute}. Reason: '{value}' is not a list.")]
    NotAList {
        /// The attribute.
        attribute: &'static str,
        /// The value, as Python prints it.
        value: String,
    },
    /// Values that are there twice, separated by commas.
    #[error("Invalid input for {attribute}. Reason: Duplicate items in the list: '{values}'.")]
    Twice {
        /// The attribute.
        attribute: &'static str,
        /// The values.
        values: String,
    },
    /// A value that is no hardware address. Holds it as Python prints it.
    #[error("Invalid input for mac_address. Reason: '{0}' is not a valid MAC address.")]
    MacAddress(String),
    /// What is no address of a port. Holds it as Python prints it.
    #[error("Invalid input for fixed_ips. Reason: Invalid data format for fixed IP: '{0}'.")]
    FixedIp(String),
    /// What is no IP address. Holds it as Python prints it.
    #[error("Invalid input for fixed_ips. Reason: '{0}' is not a valid IP address.")]
    FixedAddress(String),
    /// An address that is there twice.
    #[error("Invalid input for fixed_ips. Reason: Duplicate IP address '{0}'.")]
    FixedAddressTwice(String),
    /// A subnet without an address in it: Neutron would choose one.
    #[error(
        "Invalid input for fixed_ips. Reason: subnet '{0}' without an ip_address: netlog does not \
         allocate addresses, name one."
    )]
    NoAddress(String),
    /// Another port has the address.
    #[error("IP address {address} already allocated in subnet {subnet}")]
    AddressInUse {
        /// The address.
        address: String,
        /// The subnet, as the other port has it.
        subnet: String,
    },
    /// Another port has the hardware address.
    #[error("Unable to complete operation for network {network}. The mac address {mac} is in use.")]
    MacAddressInUse {
        /// The network of both.
        network: String,
        /// The hardware address.
        mac: String,
    },
    /// Address pairs are no list.
    #[error("Allowed address pairs must be a list.")]
    PairsNotAList,
    /// What is no address pair. Holds it as Python prints it.
    #[error("Invalid input for allowed_address_pairs. Reason: '{0}' is not a dictionary.")]
    Pair(String),
    /// An address pair without an address.
    #[error("AllowedAddressPair must contain ip_address")]
    PairWithoutAddress,
    /// What is no address or prefix of an address pair. Holds it as Python prints it.
    #[error("'{0}' is not a valid IP address")]
    PairAddress(String),
    /// What is no hardware address of an address pair. Holds it as Python prints it.
    #[error("'{0}' is not a valid MAC address")]
    PairMacAddress(String),
    /// An address pair that is there twice.
    #[error("Request contains duplicate address pair: mac_address {mac} ip_address {address}.")]
    PairTwice {
        /// The hardware address, `None` for the port's own.
        mac: String,
        /// The address or prefix.
        address: String,
    },
    /// Address pairs on a port that is not protected.
    #[error("Port Security must be enabled in order to have allowed address pairs on a port.")]
    PairsWithoutSecurity,
    /// Security groups for a port that is not protected.
    #[error(
        "Port security must be enabled and port must have an IP address in order to use security \
         groups."
    )]
    GroupsWithoutSecurity,
    /// A port with security groups is to be unprotected.
    #[error(
        "Port has security group associated. Cannot disable port security or IP address until \
         security group is removed."
    )]
    SecurityOfGroups,
}

impl EditError {
    /// Neutron's name of the error.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Request(error) => error.kind(),
            Self::GroupNotFound(_) => "SecurityGroupNotFound",
            Self::AddressGroupNotFound(_) => "AddressGroupNotFound",
            Self::GroupInUse(_) => "SecurityGroupInUse",
            Self::DefaultExists => "SecurityGroupDefaultAlreadyExists",
            Self::UpdateDefault => "SecurityGroupCannotUpdateDefault",
            Self::RemoveDefault => "SecurityGroupCannotRemoveDefault",
            Self::StatefulAndStateless => "SecurityGroupConflict",
            Self::Protocol(_) => "SecurityGroupRuleInvalidProtocol",
            Self::Ethertype(_) => "SecurityGroupRuleInvalidEtherType",
            Self::EthertypeOfProtocol { .. } => "SecurityGroupEthertypeConflictWithProtocol",
            Self::EthertypeOfPrefix { .. } => "SecurityGroupRuleParameterConflict",
            Self::Prefix(_) => "InvalidCIDR",
            Self::Remotes => "SecurityGroupMultipleRemoteEntites",
            Self::PortValue(_) => "SecurityGroupInvalidPortValue",
            Self::PortRange => "SecurityGroupInvalidPortRange",
            Self::PortsWithoutProtocol => "SecurityGroupProtocolRequiredWithPorts",
            Self::PortsOfProtocol(_) => "SecurityGroupInvalidProtocolForPort",
            Self::Icmp { .. } => "SecurityGroupInvalidIcmpValue",
            Self::IcmpCode(_) => "SecurityGroupMissingIcmpType",
            Self::RuleExists(_) => "SecurityGroupRuleExists",
            Self::RuleTwice => "DuplicateSecurityGroupRuleInPost",
            Self::SeveralGroups => "SecurityGroupNotSingleGroupRules",
            Self::SeveralProjects => "SecurityGroupRulesNotSingleProject",
            Self::NotAList { .. }
            | Self::Twice { .. }
            | Self::MacAddress(_)
            | Self::FixedIp(_)
            | Self::FixedAddress(_)
            | Self::FixedAddressTwice(_)
            | Self::NoAddress(_)
            | Self::PairsNotAList
            | Self::Pair(_)
            | Self::PairAddress(_)
            | Self::PairMacAddress(_) => "HTTPBadRequest",
            Self::AddressInUse { .. } => "IpAddressAlreadyAllocated",
            Self::MacAddressInUse { .. } => "MacAddressInUse",
            Self::PairWithoutAddress => "AllowedAddressPairsMissingIP",
            Self::PairTwice { .. } => "DuplicateAddressPairInRequest",
            Self::PairsWithoutSecurity => "AddressPairAndPortSecurityRequired",
            Self::GroupsWithoutSecurity => "PortSecurityAndIPRequiredForSecurityGroups",
            Self::SecurityOfGroups => "PortSecurityPortHasSecurityGroup",
        }
    }

    /// The HTTP status of the answer.
    pub const fn status(&self) -> u16 {
        match self {
            Self::GroupNotFound(_) | Self::AddressGroupNotFound(_) => 404,
            Self::GroupInUse(_)
            | Self::DefaultExists
            | Self::UpdateDefault
            | Self::RemoveDefault
            | Self::StatefulAndStateless
            | Self::RuleExists(_)
            | Self::RuleTwice
            | Self::AddressInUse { .. }
            | Self::MacAddressInUse { .. }
            | Self::PairsWithoutSecurity
            | Self::SecurityOfGroups => 409,
            _ => 400,
        }
    }
}
