//! What the listener speaks, and what it does not. The client hellos are written by hand: no library offers them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::Server;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

/// TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, which a TLS 1.2 client of today offers.
const MODERN: &[u16] = &[0xc02b];
/// CBC with ephemeral keys, RSA key exchange, 3DES, RC4, NULL, export: what must be refused.
const WEAK: &[u16] =
    &[0xc009, 0xc00a, 0xc013, 0xc014, 0xc023, 0xc027, 0x009c, 0x002f, 0x0035, 0x000a, 0x0005, 0x0002, 0x0003];

/// A client hello of `version` (0x0303 is TLS 1.2) that offers `suites` (RFC 5246 section 7.4.1.2).
fn client_hello(version: u16, suites: &[u16]) -> Vec<u8> {
    let lists = |id: u16, body: &[u8]| [&id.to_be_bytes(), &(body.len() as u16).to_be_bytes(), body].concat();
    let extensions = [
        lists(10, &[0, 4, 0, 23, 0, 29]),     // supported groups: secp256r1, x25519
        lists(11, &[1, 0]),                   // point formats: uncompressed
        lists(13, &[0, 6, 4, 3, 8, 4, 4, 1]), // signature algorithms
    ]
    .concat();
    let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    let mut hello = version.to_be_bytes().to_vec();
    hello.extend([7; 32]); // random
    hello.push(0); // no session
    hello.extend((suites.len() as u16).to_be_bytes());
    hello.extend(suites);
    hello.extend([1, 0]); // no compression
    hello.extend((extensions.len() as u16).to_be_bytes());
    hello.extend(extensions);
    let mut record = vec![HANDSHAKE, 3, 1];
    record.extend((hello.len() as u16 + 4).to_be_bytes());
    record.extend([1, 0]);
    record.extend((hello.len() as u16).to_be_bytes());
    record.extend(hello);
    record
}

/// Type of the first record that the server answers with, and the first bytes of its body; nothing if it just closes.
fn answer(server: &Server, bytes: &[u8]) -> (Option<u8>, Vec<u8>) {
    let mut socket = TcpStream::connect(server.running().address()).expect("connected");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
    socket.write_all(bytes).expect("sent");
    let mut head = [0; 5];
    if socket.read_exact(&mut head).is_err() {
        return (None, Vec::new());
    }
    let mut body = vec![0; u16::from_be_bytes([head[3], head[4]]) as usize];
    let _ = socket.read_exact(&mut body);
    (Some(head[0]), body)
}

#[test]
fn attack_ci13_tls_1_1_and_older_are_refused() {
    let server = Server::new();
    let (kind, body) = answer(&server, &client_hello(0x0303, MODERN));
    assert_eq!((kind, body[0]), (Some(HANDSHAKE), 2), "TLS 1.2 with a good suite gets a server hello");
    for version in [0x0302, 0x0301, 0x0300] {
        let (kind, body) = answer(&server, &client_hello(version, MODERN));
        assert_eq!(kind, Some(ALERT), "{version:#x}");
        assert_eq!(body, [2, 70], "fatal, protocol version");
    }
}

#[test]
fn attack_ch32_weak_suites_are_refused() {
    let server = Server::new();
    let (kind, body) = answer(&server, &client_hello(0x0303, WEAK));
    assert_eq!((kind, body), (Some(ALERT), vec![2, 40]), "all weak at once: fatal, handshake failure");
    for suite in WEAK {
        let (kind, _) = answer(&server, &client_hello(0x0303, &[*suite]));
        assert_eq!(kind, Some(ALERT), "{suite:#06x}");
    }
    // A good one among weak ones is chosen.
    let mixed = [WEAK, MODERN].concat();
    let (kind, body) = answer(&server, &client_hello(0x0303, &mixed));
    assert_eq!((kind, body[0]), (Some(HANDSHAKE), 2));
    let session = 1 + 3 + 2 + 32; // type, length, version, random
    let at = session + 1 + usize::from(body[session]);
    assert_eq!(body[at..at + 2], MODERN[0].to_be_bytes());
}

#[test]
fn attack_ci13_plaintext_http_gets_no_answer_in_http() {
    let server = Server::new();
    let requests: [&[u8]; 4] = [
        b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"POST /v1/token HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{}",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
    ];
    for request in requests {
        let mut socket = TcpStream::connect(server.running().address()).expect("connected");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
        socket.write_all(request).expect("sent");
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        assert!(answer.first().is_none_or(|kind| *kind == ALERT), "{answer:?}");
        assert!(!answer.windows(4).any(|window| window == b"HTTP"));
    }
    assert_eq!(server.send("GET", "/health", None, None).status, 200);
}

#[test]
fn attack_ci13_a_handshake_that_stops_halfway_is_ended() {
    let server = Server::new();
    let mut sockets = Vec::new();
    for _ in 0..50 {
        let mut socket = TcpStream::connect(server.running().address()).expect("connected");
        socket.write_all(&client_hello(0x0303, MODERN)[..20]).expect("sent");
        sockets.push(socket);
    }
    assert_eq!(server.send("GET", "/health", None, None).status, 200, "others are served meanwhile");
}
