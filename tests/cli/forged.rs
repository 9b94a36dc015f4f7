//! Does the song go on while somebody sends in the station's name?

use lanradio::wire::control::{Heartbeat, Hello, Message, State};
use lanradio::wire::election::{Ask, Round, Stale, Standing};
use lanradio::wire::ids::{NodeId, Numbering};
use lanradio::wire::media::{Flags, MediaPacket};
use lanradio::wire::{FrameIndex, PlanDigest, Slot, StationId, Term};

use crate::network::heckle;
use crate::sound::{blocks, strength};
use crate::support::{Studio, named};

fn forged(station: StationId, counter: u32) -> Vec<Message> {
    let term = Term {
        counter,
        leader: NodeId(9 << 32),
    };
    let node = term.leader;
    let beat = Heartbeat {
        station,
        term,
        number: 1,
        sent_at_us: 60_000_000,
        young: false,
        state: State::Idle,
        next: FrameIndex(40),
        buffer_ms: 500,
        plan: PlanDigest(1),
        run: None,
        tracks: [None, None],
        name: "nobody".into(),
        succession: Default::default(),
    };
    let ask = Ask {
        station,
        node,
        term,
        attempt: 1,
        round: Round::Vote { counter },
        rank: 0,
        eligible: true,
        plan: PlanDigest(1),
        version: 1 << 40,
        quorum: 1,
    };
    vec![
        Message::Heartbeat(Box::new(beat)),
        Message::Stale(Stale {
            station,
            node,
            term,
        }),
        Message::Ask(ask),
    ]
}

fn hello(station: StationId, id: u64) -> Message {
    Message::Hello(Hello {
        node: NodeId(id << 32),
        name: "nobody".into(),
        founding: false,
        station: Some(station),
        standing: Standing {
            standby: true,
            eligible: true,
            complete: true,
            priority: i16::MAX,
            age_s: u32::MAX,
            http_port: 0,
        },
        held_to: None,
    })
}

#[test]
fn what_is_sent_in_the_stations_name_is_counted_and_the_song_goes_on() {
    let studio = Studio::new();
    studio.tone("a.wav", 6_000, 440.0);
    let listener = studio.listener("listen --output file:out.wav --once --events -");
    let sender = crate::station::sender(&studio, "a.wav");
    let on_air = listener.wait_event("on_air");
    listener.wait_event("replica");
    let station = on_air["station"].as_str().unwrap();
    let station = StationId(u32::from_str_radix(station, 16).unwrap());
    let numbering = Numbering::of(station);
    let control = studio.port + 2;
    for round in 0..20_u64 {
        for message in forged(station, u32::MAX) {
            heckle(&studio, control, &message.to_bytes());
        }
        let term = Term {
            counter: u32::MAX,
            leader: NodeId(9 << 32),
        };
        let (index, slot) = (FrameIndex(100 + round), Slot(100 + round));
        let identity = (term.short(), PlanDigest(1), Flags::default());
        let mut packet = Vec::new();
        MediaPacket::place(&numbering, index, slot, false, identity, &[0xfc, 1, 2])
            .write(&mut packet);
        heckle(&studio, studio.port, &packet);
        for id in 0..100 {
            heckle(
                &studio,
                control,
                &hello(station, 1_000 + round * 100 + id).to_bytes(),
            );
        }
    }
    let told = sender.finish().exits(0).events();
    let heard = listener.finish().exits(0).events();
    for events in [&told, &heard] {
        let last = named(events, "stats").pop().unwrap();
        let by = &last["rejected_by"];
        assert!(by["term_leap"].as_u64() >= Some(60), "{by}");
        assert!(by["roster_full"].as_u64() >= Some(1_000), "{by}");
        assert_eq!(named(events, "took_over").len(), 0, "{events:?}");
        let warned = named(events, "warning");
        let leaps = warned
            .iter()
            .filter(|event| event["text"].as_str().unwrap().contains("term_leap"));
        assert_eq!(leaps.count(), 1, "once a minute: {warned:?}");
    }
    let last = named(&heard, "stats").pop().unwrap();
    assert_eq!(last["concealed"], 0);
    let sound = studio.recording("out.wav");
    assert_eq!(blocks(&sound), 301);
    assert!(strength(&sound, 440.0) > 9_000.0);
}
