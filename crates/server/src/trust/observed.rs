//! The inventory as the running system knows it: from the configuration, the data folder and the process itself.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use creta_compliance::{DataClass, Inventory, Item, ItemKind};

use super::pickup::Intakes;
use crate::config::Config;
use crate::control_plane::ControlPlane;

/// What each entry of a data folder is. An entry that is not here is undeclared by nature.
const FOLDER: &[(&str, &str, ItemKind, DataClass, &str)] = &[
    ("config.toml", "configuration", ItemKind::Store, DataClass::Internal, "what differs from place to place"),
    ("root.key", "root-key", ItemKind::Secret, DataClass::Restricted, "unlocks every scope key"),
    ("admin.json", "administrator-credential", ItemKind::Secret, DataClass::Restricted, "the first administrator"),
    ("keys", "scope-keys", ItemKind::Store, DataClass::Restricted, "scope keys, wrapped by the root key"),
    ("tls", "authority-certificate", ItemKind::Store, DataClass::Public, "what clients trust"),
    ("metadata.sqlite", "control-plane", ItemKind::Store, DataClass::Confidential, "tenants, accounts, evidence"),
    ("tenants", "tenant-stores", ItemKind::Store, DataClass::Restricted, "facts, online values and definitions"),
    ("trust", "trust", ItemKind::Store, DataClass::Internal, "the inventory and own commitments"),
    ("witnesses", "cosignatures", ItemKind::Store, DataClass::Public, "what witnesses signed, and what they saw"),
    ("paging", "paging", ItemKind::Store, DataClass::Internal, "which reports wait for somebody to be paged"),
    (".tmp", "unfinished-writes", ItemKind::Store, DataClass::Restricted, "sealed files until they get their names"),
    ("lock", "lock", ItemKind::Store, DataClass::Public, "says that a server is at work"),
];

/// Folders that belong to every server and are made with the first thing in them.
const MADE_WHEN_NEEDED: &[&str] = &["paging", "tenants", "trust"];

/// Beside a SQLite file while it is open.
const SQLITE_COMPANIONS: &[&str] = &["metadata.sqlite-wal", "metadata.sqlite-shm", "metadata.sqlite-journal"];

/// The inventory of a running server. `own` is where it listens, `components` where it takes those alone; other listeners of
/// the process are items of their own.
pub(crate) fn observe(
    folder: &Path,
    control: &ControlPlane,
    intakes: &Intakes,
    own: SocketAddr,
    components: Option<SocketAddr>,
) -> io::Result<Inventory> {
    let environment = control.environment();
    let item = |kind, name: &str, class, place: &str, purpose: &str| Item::observed(kind, name, class, place, purpose);
    let mut items = vec![
        item(ItemKind::System, "server", DataClass::Restricted, "this process", "answers requests"),
        item(ItemKind::System, "workers", DataClass::Restricted, "child processes", "run resolvers of one tenant each"),
        item(ItemKind::Principal, "administrators", DataClass::Confidential, "", "run the environment, see no values"),
        item(ItemKind::Principal, "service-accounts", DataClass::Restricted, "", "programs of one tenant each"),
        item(ItemKind::Secret, "token-key", DataClass::Restricted, "metadata.sqlite, sealed", "signs access tokens"),
        item(ItemKind::Secret, "authority-key", DataClass::Restricted, "metadata.sqlite, sealed", "signs certificates"),
        item(ItemKind::Secret, "log-key", DataClass::Restricted, "audit log, sealed", "signs checkpoints"),
    ];
    let flow = |name: &str, from: &str, to: &str, class, purpose: &str| Item {
        between: Some((from.to_owned(), to.to_owned())),
        ..item(ItemKind::Flow, name, class, "", purpose)
    };
    items.push(flow("requests", "principal:service-accounts", "listener:api", DataClass::Restricted, "over TLS"));
    items.push(flow("resolvers", "system:server", "system:workers", DataClass::Restricted, "columns for resolvers"));
    items.push(flow("public", "listener:api", "principal:anybody", DataClass::Public, "trust page, security contact"));
    items.push(item(ItemKind::Principal, "anybody", DataClass::Public, "", "reads the trust page, reports issues"));

    for (name, address) in control.witnesses().addresses() {
        let witness = format!("system:witness-{name}");
        let seen =
            flow(&format!("witness-{name}"), "system:server", &witness, DataClass::Internal, "checkpoints, over TLS");
        items.push(Item { place: address.to_owned(), ..seen });
    }
    for (name, place) in intakes.flows() {
        let intake = format!("system:intake-{name}");
        let purpose = "reports of security issues, sealed";
        let seen = flow(&format!("intake-{name}"), &intake, "system:server", DataClass::Confidential, purpose);
        items.push(Item { place, ..seen });
    }
    if let Some(acme) = Config::load(folder).ok().and_then(|config| config.acme) {
        let seen = flow("acme", "system:server", "system:acme", DataClass::Internal, "certificates, over TLS");
        items.push(Item { place: acme.directory, ..seen });
    }
    for listener in listeners_of_this_process()? {
        let name = match listener.port() {
            port if port == own.port() => "api".to_owned(),
            port if components.is_some_and(|components| components.port() == port) => "components".to_owned(),
            _ => listener.to_string(),
        };
        items.push(item(ItemKind::Listener, &name, DataClass::Restricted, &listener.to_string(), "takes connections"));
    }
    let mut present: BTreeSet<String> = MADE_WHEN_NEEDED.iter().map(|name| (*name).to_owned()).collect();
    for entry in fs::read_dir(folder)? {
        present.insert(entry?.file_name().to_string_lossy().into_owned());
    }
    for name in present {
        if SQLITE_COMPANIONS.contains(&name.as_str()) {
            continue;
        }
        let known = FOLDER.iter().find(|(path, ..)| *path == name);
        items.push(match known {
            Some((path, id, kind, class, purpose)) => item(*kind, id, *class, path, purpose),
            None if name == environment.as_str() => {
                item(ItemKind::Store, "audit-log", DataClass::Confidential, &name, "who did what, sealed and signed")
            }
            None => item(ItemKind::Store, &name, DataClass::Restricted, &name, "nobody knows"),
        });
    }
    Ok(Inventory::new(environment.clone(), items))
}

/// Where a client on this machine reaches a listener.
pub(crate) fn reachable(listener: SocketAddr) -> SocketAddr {
    match listener.ip() {
        ip if ip.is_unspecified() && ip.is_ipv4() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), listener.port()),
        ip if ip.is_unspecified() => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), listener.port()),
        _ => listener,
    }
}

/// The addresses that this process takes connections at, as the kernel lists them.
pub(crate) fn listeners_of_this_process() -> io::Result<BTreeSet<SocketAddr>> {
    let mut own = BTreeSet::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let Ok(target) = fs::read_link(entry?.path()) else { continue }; // Closed meanwhile.
        let text = target.to_string_lossy().into_owned();
        if let Some(inode) = text.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) {
            own.insert(inode.to_owned());
        }
    }
    let mut listeners = BTreeSet::new();
    for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        let text = match fs::read_to_string(table) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // A kernel without IPv6.
            Err(error) => return Err(error),
        };
        listeners.extend(text.lines().skip(1).filter_map(|line| listener(line, &own)));
    }
    Ok(listeners)
}

/// A line of `/proc/net/tcp`: number, local address, remote address, state (0A is listening), ..., inode in column ten.
fn listener(line: &str, own: &BTreeSet<String>) -> Option<SocketAddr> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let (local, state, inode) = (*columns.get(1)?, *columns.get(3)?, *columns.get(9)?);
    if state != "0A" || !own.contains(inode) {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // Words of 32 bits in the machine's order.
    let words: Option<Vec<[u8; 4]>> = (0..address.len() / 8)
        .map(|word| u32::from_str_radix(&address[word * 8..word * 8 + 8], 16).ok().map(u32::to_ne_bytes))
        .collect();
    let ip: IpAddr = match words?.concat().as_slice() {
        bytes @ [_, _, _, _] => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        bytes => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_of_this_process_is_found_and_gone_when_closed() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        assert!(listeners_of_this_process().expect("listed").contains(&address));
        drop(listener);
        assert!(!listeners_of_this_process().expect("listed").contains(&address));
    }

    #[test]
    fn lines_of_the_kernel_are_read() {
        let own = BTreeSet::from(["77".to_owned()]);
        let line = |local: &str, state: &str, inode: &str| {
            format!(
                "   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1"
            )
        };
        let little = cfg!(target_endian = "little");
        if little {
            let found = listener(&line("0100007F:1D13", "0A", "77"), &own);
            assert_eq!(found, Some("127.0.0.1:7443".parse().expect("valid")));
            let six = listener(&line("00000000000000000000000001000000:1D13", "0A", "77"), &own);
            assert_eq!(six, Some("[::1]:7443".parse().expect("valid")));
        }
        assert_eq!(listener(&line("0100007F:1D13", "01", "77"), &own), None, "a connection, not a listener");
        assert_eq!(listener(&line("0100007F:1D13", "0A", "78"), &own), None, "of another process");
        assert_eq!(listener("", &own), None);
    }
}
