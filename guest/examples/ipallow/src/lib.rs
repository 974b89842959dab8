//! A whole plugin: lets requests pass by the address of their client, and answers 403 otherwise. Give it
//! `fail = "closed"`.
//!
//! | key | default | |
//! |---|---|---|
//! | `allow` | everybody | networks between spaces that may pass: `10.0.0.0/8 2001:db8::/32 192.0.2.7` |
//! | `deny` | nobody | networks that may not, whatever `allow` says |
//! | `unknown` | `deny` | what becomes of a client whose address the host does not know (a Unix socket): `allow` or `deny` |
//!
//! At least one of `allow` and `deny` is needed. The address is the first one in `x-forwarded-for`: the host writes that
//! for every request, from `trusted-proxies` and the PROXY protocol, and clients cannot. An IPv4 address within an IPv6
//! one (`::ffff:192.0.2.7`) counts as the IPv4 address, in requests and in networks.
//!
//! Limits: 4,096 networks. An address is no proof of who somebody is.
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use kit::{Answer, Config, Request, client, next, text};

kit::plugin!(Networks, handle, schema: "../config.schema.json");

struct Networks {
    allow: Option<Vec<IpNet>>,
    deny: Vec<IpNet>,
    unknown: bool,
}

const MOST: usize = 4096;

impl kit::Settings for Networks {
    fn read(config: &mut Config) -> Result<Self, String> {
        let allow = networks("allow", config.text("allow"))?;
        let deny = networks("deny", config.text("deny"))?;
        let unknown = match config.text("unknown").as_deref() {
            None | Some("deny") => false,
            Some("allow") => true,
            Some(text) => {
                return Err(format!("config.unknown: {text:?} is neither allow nor deny"));
            }
        };
        if allow.is_none() && deny.is_none() {
            return Err("config.allow or config.deny is needed".into());
        }
        Ok(Self { allow, deny: deny.unwrap_or_default(), unknown })
    }
}

fn networks(key: &str, text: Option<String>) -> Result<Option<Vec<IpNet>>, String> {
    let Some(text) = text else { return Ok(None) };
    let all =
        text.split_whitespace().map(|word| network(key, word)).collect::<Result<Vec<_>, _>>()?;
    match all.len() {
        // A list that a template left empty shall not open or close the door by itself.
        0 => Err(format!("config.{key} is empty; leave it out, or name a network")),
        count if count > MOST => Err(format!("config.{key} has {count} networks; {MOST} at most")),
        _ => Ok(Some(all)),
    }
}

fn network(key: &str, word: &str) -> Result<IpNet, String> {
    let parsed = word.parse().or_else(|_| word.parse().map(|address: IpAddr| address.into()));
    let network: IpNet = parsed.map_err(|_| {
        format!(
            "config.{key}: {word:?} is no network; write 192.0.2.0/24, 2001:db8::/32 or an address"
        )
    })?;
    if network.addr() != network.network() {
        let meant = network.trunc();
        return Err(format!(
            "config.{key}: {word} has bits behind its prefix; {meant} may be meant"
        ));
    }
    Ok(within_ipv4(network).unwrap_or(network))
}

/// `::ffff:10.0.0.0/104` is 10.0.0.0/8.
fn within_ipv4(network: IpNet) -> Option<IpNet> {
    let IpNet::V6(six) = network else { return None };
    let four = six.addr().to_ipv4_mapped()?;
    Some(Ipv4Net::new(four, six.prefix_len().checked_sub(96)?).ok()?.into())
}

async fn handle(networks: &'static Networks, request: Request) -> Answer {
    let passes = match client(&request.get_headers()) {
        Some(address) => networks.pass(address),
        None => networks.unknown,
    };
    match passes {
        true => next(request).await,
        false => Ok(text(403, &[], "text/plain", "not from this address\n".into())),
    }
}

impl Networks {
    fn pass(&self, address: IpAddr) -> bool {
        let is_in = |networks: &[IpNet]| networks.iter().any(|net| net.contains(&address));
        !is_in(&self.deny) && self.allow.as_deref().is_none_or(is_in)
    }
}
