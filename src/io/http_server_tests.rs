//! A server that a test answers for, and clients that behave and do not.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;
use crate::io::clock::Clock;
use crate::io::http_client::{FetchError, Job, fetch};
use crate::io::wait::Waiter;

const SHORT: Limits = Limits {
    connections: 3,
    connections_per_address: 3,
    head_bytes: 8 << 10,
    body_bytes: 1_000,
    head: Duration::from_millis(300),
    idle: Duration::from_millis(400),
    answer: Duration::from_millis(300),
};

/// Starts a server whose questions `answer` answers, on a thread of its own, until the server is gone.
fn serve(
    limits: Limits,
    mut answer: impl FnMut(&What) -> Option<Answer> + Send + 'static,
) -> HttpServer {
    let waiter = Waiter::new().unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (server, questions) = HttpServer::start(any, waiter.waker(), limits).unwrap();
    thread::spawn("answers", move || {
        let mut unanswered = Vec::new();
        while let Ok(question) = questions.recv() {
            match answer(&question.what) {
                Some(said) => question.answer(said),
                None => unanswered.push(question),
            }
        }
        drop(waiter);
    })
    .unwrap();
    server
}

fn ask(server: &HttpServer, path: &str, body: Option<&[u8]>) -> Result<Vec<u8>, FetchError> {
    let job = Job {
        key: 1,
        addr: server.local_addr(),
        path: path.into(),
        body: body.map(<[u8]>::to_vec),
        limit_bytes: 5_000,
        patience: Duration::from_secs(5),
    };
    fetch(&job, u32::MAX)
}

fn says(text: &str) -> Option<Answer> {
    Some(Answer::Content {
        kind: "text/plain",
        bytes: text.as_bytes().to_vec(),
    })
}

fn status_of(result: Result<Vec<u8>, FetchError>) -> u16 {
    match result {
        Ok(_) => 200,
        Err(FetchError::Refused { status, .. }) => status,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn each_path_asks_its_question() {
    let server = serve(Limits::default(), |what| says(&format!("{what:?}")));
    let id = "000102030405060708090a0b0c0d0e0f";
    let track = TrackId(std::array::from_fn(|n| n as u8));
    let table = [
        ("/status".to_string(), None, What::Status),
        ("/programme".into(), None, What::Programme),
        ("/plan/00abcd".into(), None, What::Plan(PlanDigest(0xabcd))),
        (
            format!("/tracks/{id}?from=7&once"),
            None,
            What::Frames { track, from: 7 },
        ),
        ("/stop".into(), Some(&b""[..]), What::Stop),
        (
            "/programme".into(),
            Some(&b"new"[..]),
            What::Append(b"new".to_vec()),
        ),
    ];
    for (path, body, what) in table {
        let said = ask(&server, &path, body).unwrap();
        assert_eq!(
            String::from_utf8(said).unwrap(),
            format!("{what:?}"),
            "{path}"
        );
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_a_reason() {
    let server = serve(SHORT, |_| says("fine"));
    for (path, body, status) in [
        ("/nothing", None, 404),
        ("/plan/xyz", None, 404),
        ("/plan/1000000", None, 404),
        ("/tracks/12", None, 404),
        ("/tracks/12.opus", None, 404),
        ("/stop", None, 405),
        ("/status", Some(&b""[..]), 405),
        ("/programme", Some(&[7; 1_001][..]), 413),
        ("/programme", Some(&[7; 1_000][..]), 200),
    ] {
        assert_eq!(status_of(ask(&server, path, body)), status, "{path}");
    }
    assert_eq!(server.refusals()[0], ("http_body", 1));
}

#[test]
fn a_node_that_does_not_answer_is_a_503_and_not_a_hang() {
    let server = serve(SHORT, |_| None);
    assert_eq!(status_of(ask(&server, "/status", None)), 503);
}

#[test]
fn a_growing_track_is_sent_as_it_grows_until_it_is_complete() {
    let mut asked = 0;
    let server = serve(SHORT, move |what| {
        let What::Frames { from, .. } = what else {
            panic!("{what:?}")
        };
        asked += 1;
        // Every second time there is nothing new.
        let new = if asked % 2 == 1 { 10 } else { 0 };
        Some(Answer::Frames {
            bytes: vec![*from as u8; new],
            next: from + new as u64,
            complete: from + new as u64 >= 50,
        })
    });
    let path = format!("/tracks/{}", "0".repeat(32));
    let said = ask(&server, &path, None).unwrap();
    let expected: Vec<u8> = [0, 10, 20, 30, 40]
        .into_iter()
        .flat_map(|from| [from; 10])
        .collect();
    assert_eq!(said, expected);
    let once = ask(&server, &format!("{path}?once&from=3"), None).unwrap();
    assert!(once.len() <= 10);
}

#[test]
fn more_than_was_asked_for_is_not_taken() {
    let server = serve(Limits::default(), |what| match what {
        What::Frames { from, .. } => Some(Answer::Frames {
            bytes: vec![1; 1_000],
            next: from + 1,
            complete: false,
        }),
        _ => None,
    });
    let endless = ask(&server, &format!("/tracks/{}", "0".repeat(32)), None);
    assert!(
        matches!(
            endless,
            Err(FetchError::TooLong {
                limit_bytes: 5_000,
                ..
            })
        ),
        "{endless:?}"
    );
}

/// Bytes that a connection answers with, until it is closed.
fn read_all(mut stream: &TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let _reset = stream.read_to_end(&mut said);
    said
}

#[test]
fn a_body_without_an_end_is_cut_off_and_counted() {
    let server = serve(SHORT, |_| says("fine"));
    let mut stream = TcpStream::connect(server.local_addr()).unwrap();
    let head = b"POST /programme HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head).unwrap();
    // At most 10 MB: it is refused after 1 kB, and the connection closed.
    let chunk = [&b"3e8\r\n"[..], &[7; 1_000], b"\r\n"].concat();
    let taken = (0..10_000).take_while(|_| stream.write_all(&chunk).is_ok());
    assert!(taken.count() < 10_000, "somebody reads all of it");
    let refused = |reason| server.refusals().contains(&(reason, 1));
    assert!(refused("http_body"), "{:?}", server.refusals());
    assert_eq!(ask(&server, "/status", None).unwrap(), b"fine");
}

#[test]
fn slow_clients_are_dropped_and_make_room_for_others() {
    let server = serve(SHORT, |_| says("fine"));
    let clock = Clock::new();
    let slow: Vec<TcpStream> = (0..SHORT.connections)
        .map(|_| {
            let mut stream = TcpStream::connect(server.local_addr()).unwrap();
            stream.write_all(b"GET /status HT").unwrap();
            stream
        })
        .collect();
    let began = clock.now();
    for stream in &slow {
        assert!(!read_all(stream).starts_with(b"HTTP/1.1 200"));
    }
    let waited = clock.now().since(began);
    assert!(waited < Duration::from_secs(4), "dropped after {waited:?}");
    assert_eq!(ask(&server, "/status", None).unwrap(), b"fine");
}

#[test]
fn one_connection_too_many_is_closed_at_once() {
    let patient = Limits {
        head: Duration::from_secs(30),
        ..SHORT
    };
    let server = serve(patient, |_| says("fine"));
    let held: Vec<TcpStream> = (0..patient.connections)
        .map(|_| {
            let mut stream = TcpStream::connect(server.local_addr()).unwrap();
            stream.write_all(b"GET /status HT").unwrap();
            stream
        })
        .collect();
    let one_more = TcpStream::connect(server.local_addr()).unwrap();
    assert_eq!(read_all(&one_more), b"");
    drop(held);
}

#[test]
fn a_head_without_end_is_refused() {
    let server = serve(SHORT, |_| says("fine"));
    let mut stream = TcpStream::connect(server.local_addr()).unwrap();
    let flood = [b"GET /status HTTP/1.1\r\n".to_vec(), vec![b'a'; 20_000]].concat();
    let _reset = stream.write_all(&flood);
    assert!(!read_all(&stream).starts_with(b"HTTP/1.1 200"));
    assert_eq!(ask(&server, "/status", None).unwrap(), b"fine");
}

#[test]
fn an_address_that_is_taken_is_named() {
    let server = serve(SHORT, |_| None);
    let waiter = Waiter::new().unwrap();
    let error = HttpServer::start(server.local_addr(), waiter.waker(), SHORT).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(&server.local_addr().to_string()) && text.contains("--http"),
        "{text}"
    );
}

#[test]
fn nobody_there_is_an_error_soon() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let job = Job {
        key: 1,
        addr: gone,
        path: "/status".into(),
        body: None,
        limit_bytes: 1,
        patience: Duration::from_secs(5),
    };
    let error = fetch(&job, u32::MAX).unwrap_err();
    assert!(
        matches!(error, FetchError::Failed { .. }) && error.to_string().contains(&gone.to_string())
    );
}

#[test]
fn a_page_of_a_web_site_changes_nothing() {
    let server = serve(SHORT, |_| says("fine"));
    for (method, status) in [("POST /stop", "403"), ("GET /status", "200")] {
        let mut stream = TcpStream::connect(server.local_addr()).unwrap();
        let request = format!(
            "{method} HTTP/1.1\r\nhost: x\r\norigin: https://example.org\r\ncontent-length: 0\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let said = String::from_utf8(read_all(&stream)).unwrap();
        assert!(said.starts_with(&format!("HTTP/1.1 {status}")), "{said}");
    }
}

#[test]
fn a_track_that_stops_growing_is_broken_off_and_does_not_look_whole() {
    let server = serve(SHORT, |what| {
        let What::Frames { from, .. } = what else {
            panic!("{what:?}")
        };
        let new = if *from == 0 { 10 } else { 0 };
        Some(Answer::Frames {
            bytes: vec![1; new],
            next: from + new as u64,
            complete: false,
        })
    });
    let broken = ask(&server, &format!("/tracks/{}", "0".repeat(32)), None);
    assert!(
        matches!(broken, Err(FetchError::Failed { .. })),
        "{broken:?}"
    );
}

#[test]
fn one_address_cannot_take_all_connections() {
    let few = Limits {
        connections: 3,
        connections_per_address: 2,
        head: Duration::from_secs(30),
        ..SHORT
    };
    let server = serve(few, |_| says("fine"));
    let hold = |_| {
        let mut stream = TcpStream::connect(server.local_addr()).unwrap();
        stream.write_all(b"GET /status HT").unwrap();
        stream
    };
    let held: Vec<TcpStream> = (0..2).map(hold).collect();
    let one_more = TcpStream::connect(server.local_addr()).unwrap();
    assert_eq!(read_all(&one_more), b"");
    drop(held);
}

#[test]
fn a_file_is_put_together_from_pieces_and_a_lost_piece_breaks_it_off() {
    let track = TrackId([3; 16]);
    for lost_at in [u64::MAX, 60] {
        let server = serve(SHORT, move |what| match what {
            What::File(_) => Some(Answer::File {
                title: "a title".into(),
                artist: String::new(),
                frames: 120,
            }),
            What::Frames { from, .. } => {
                let until = 120.min(from + 20);
                let mut bytes = Vec::new();
                let packets = (*from..until).map(|_| &[0xfcu8, 1, 2][..]).collect();
                let first = *from;
                if first < lost_at {
                    Block {
                        track,
                        first,
                        packets,
                    }
                    .write(&mut bytes);
                }
                Some(Answer::Frames {
                    bytes,
                    next: until,
                    complete: until == 120,
                })
            }
            _ => None,
        });
        let file = ask(&server, &format!("/tracks/{track}.opus"), None);
        if lost_at < 120 {
            assert!(matches!(file, Err(FetchError::Failed { .. })), "{file:?}");
            continue;
        }
        let mut reader = ogg::PacketReader::new(std::io::Cursor::new(file.unwrap()));
        let mut packets = Vec::new();
        while let Some(packet) = reader.read_packet().unwrap() {
            packets.push((packet.data.clone(), packet.last_in_stream()));
        }
        assert_eq!(packets.len(), 2 + 120);
        assert!(packets[0].0.starts_with(b"OpusHead") && packets[1].0.ends_with(b"TITLE=a title"));
        assert!(packets[2..].iter().all(|(data, _)| data == &[0xfc, 1, 2]));
        assert!(
            packets
                .iter()
                .rev()
                .map(|(_, last)| *last)
                .eq((0..122).map(|n| n == 0))
        );
    }
}
