//! Asking a DNS server over UDP and TCP, and which names are worth asking.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use hickory_proto::{
    op::{Edns, Message, Query},
    rr::{Name, RecordType},
};
use tidegate_core::zone::PublishedZone;

const PATIENCE: Duration = Duration::from_secs(5);

fn question(name: &Name, rtype: RecordType) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.recursion_desired = false;
    message.add_query(Query::query(name.clone(), rtype));
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    message.set_edns(edns);
    message.to_vec().unwrap()
}

/// Asks over UDP.
pub(crate) fn ask_udp(server: SocketAddr, name: &Name, rtype: RecordType) -> Message {
    try_udp(server, name, rtype, PATIENCE)
        .unwrap_or_else(|| panic!("{server} does not answer {name} {rtype}"))
}

/// Asks over UDP; `None` when there is no answer in time.
pub(crate) fn try_udp(
    server: SocketAddr,
    name: &Name,
    rtype: RecordType,
    patience: Duration,
) -> Option<Message> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(patience)).unwrap();
    socket.connect(server).unwrap();
    socket.send(&question(name, rtype)).ok()?;
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).ok()?;
    Some(Message::from_vec(buffer.get(..length)?).unwrap())
}

/// One TCP connection to a server.
pub(crate) struct TcpAsker(TcpStream);

impl TcpAsker {
    /// Connects.
    pub(crate) fn connect(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    /// Asks over the connection.
    pub(crate) fn ask(&mut self, name: &Name, rtype: RecordType) -> Message {
        let question = question(name, rtype);
        let mut bytes = u16::try_from(question.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(question);
        self.0.write_all(&bytes).unwrap();
        let mut length = [0; 2];
        self.0.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        self.0.read_exact(&mut answer).unwrap();
        Message::from_vec(&answer).unwrap()
    }
}

/// Every owner and target, the names above and below them, and beside them ones that do not exist.
pub(crate) fn names(zones: &[PublishedZone]) -> Vec<Name> {
    let mut names = BTreeSet::new();
    for text in ["example.invalid.", "test.", "www.elsewhere.invalid."] {
        names.insert(Name::from_ascii(text).unwrap());
    }
    for zone in zones {
        let apex = Name::from_ascii(zone.zone.apex()).unwrap();
        let mut seeds = vec![apex.clone()];
        for set in zone.zone.records() {
            let owner = tidegate_core::zone::name::Name::absolute(&set.name).unwrap();
            seeds.push(Name::from_labels(owner.labels().iter().map(Vec::as_slice)).unwrap());
        }
        for seed in seeds {
            let mut above = seed.clone();
            while apex.zone_of(&above) {
                for child in ["zz", "*", "a.b.c"] {
                    let below = Name::from_ascii(child).unwrap();
                    names.extend(below.append_domain(&above).ok());
                }
                names.insert(above.clone());
                above = above.base_name();
            }
            // The same name in capitals: RFC 4343.
            names.insert(Name::from_ascii(seed.to_ascii().to_uppercase()).unwrap());
        }
    }
    names.into_iter().collect()
}
