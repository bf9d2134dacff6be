//! A BIND that serves zones on a free loopback port, for as long as the value lives.

use std::{
    fmt::Write as _,
    net::{SocketAddr, UdpSocket},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RecordType},
};
use tidegate_core::zone::{PublishedZone, SOA_EXPIRE, SOA_REFRESH, SOA_RETRY, ZoneKind};

use crate::question::try_udp;

/// A running `named`.
pub(crate) struct Bind {
    process: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Bind {
    /// Where it answers.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        let _killed = self.process.kill();
        let _ended = self.process.wait();
    }
}

/// Starts BIND with these zones; `None` when it is not installed.
pub(crate) fn start(zones: &[PublishedZone]) -> Option<Bind> {
    let program = ["/usr/sbin/named", "/usr/local/sbin/named", "/usr/bin/named"]
        .into_iter()
        .find(|path| std::path::Path::new(path).exists())?;
    let folder = tempfile::tempdir().unwrap();
    let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let configuration = folder.path().join("named.conf");
    std::fs::write(&configuration, configure(zones, folder.path(), address.port())).unwrap();
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let process = Command::new(program)
        .args(["-g", "-n", "1", "-c"])
        .arg(&configuration)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let bind = Bind { process, address, folder };
    let deadline = Instant::now() + Duration::from_secs(20);
    for zone in zones {
        let apex = Name::from_ascii(zone.zone.apex()).unwrap();
        loop {
            let answer = try_udp(address, &apex, RecordType::SOA, Duration::from_millis(200));
            if answer.is_some_and(|answer| answer.metadata.response_code == ResponseCode::NoError) {
                break;
            }
            let log = || std::fs::read_to_string(bind.folder.path().join("log"));
            assert!(Instant::now() < deadline, "BIND does not serve {apex}: {:?}", log());
        }
    }
    Some(bind)
}

fn configure(zones: &[PublishedZone], folder: &std::path::Path, port: u16) -> String {
    let path = folder.display();
    // What BIND leaves out or changes by default is switched off, so that the whole answer can be compared.
    let mut text = format!(
        "options {{
  directory \"{path}\"; pid-file \"{path}/pid\"; session-keyfile \"{path}/key\"; lock-file none;
  listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
  recursion no; notify no; allow-transfer {{ none; }}; dnssec-validation no; empty-zones-enable no;
  minimal-responses no; minimal-any no; zero-no-soa-ttl no; rrset-order {{ order none; }};
}};
controls {{ }};
"
    );
    for zone in zones {
        let file = folder.join(&zone.zone.name);
        std::fs::write(&file, zone_file(zone)).unwrap();
        let (name, file) = (&zone.zone.name, file.display());
        writeln!(
            text,
            "zone \"{name}\" {{ type primary; file \"{file}\"; check-integrity no; check-names ignore; }};"
        )
        .unwrap();
    }
    text
}

/// A zone as a master file (RFC 1035 section 5).
fn zone_file(zone: &PublishedZone) -> String {
    let ZoneKind::Hosted { ttl, negative_ttl, primary, contact, records } = &zone.zone.kind else {
        panic!("{} is not hosted", zone.zone.name)
    };
    let (apex, serial) = (zone.zone.apex(), zone.serial);
    let timers = format!("{SOA_REFRESH} {SOA_RETRY} {SOA_EXPIRE} {negative_ttl}");
    let mut text = format!("{apex} {ttl} IN SOA {primary} {contact} {serial} {timers}\n");
    for set in records {
        for value in &set.values {
            writeln!(text, "{} {} IN {} {value}", set.name, set.ttl, set.rtype).unwrap();
        }
    }
    text
}
