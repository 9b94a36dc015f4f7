use super::*;

fn packet(i: u64) -> Vec<u8> {
    (0..=i % 400).map(|k| (i + k) as u8).collect()
}

fn track(frames: u64) -> Track {
    let mut track = Track::new(TrackId([7; 16]));
    (0..frames).for_each(|i| track.push(&packet(i)).expect("room"));
    track
}

#[test]
fn every_packet_is_found_while_the_track_grows_and_after() {
    for frames in [0, 1, 49, 50, 51, 100, 1234] {
        let mut track = track(frames);
        for finished in [false, true] {
            assert_eq!(track.len(), frames);
            assert_eq!(track.is_empty(), frames == 0);
            assert_eq!(track.is_finished(), finished);
            for i in 0..frames {
                assert_eq!(
                    track.get(i),
                    Some(packet(i).as_slice()),
                    "frame {i} of {frames}"
                );
            }
            assert_eq!(track.get(frames), None);
            assert_eq!(track.get(u64::MAX), None);
            track.finish();
        }
    }
}

#[test]
fn finished_track_takes_nothing_and_odd_packets_are_refused() {
    let mut track = track(3);
    assert_eq!(track.push(&[]), Err(PushError::PacketLength(0)));
    assert_eq!(track.push(&[0; 1276]), Err(PushError::PacketLength(1276)));
    assert_eq!(track.push(&[0; 1275]), Ok(()));
    assert_eq!(track.finish(), track.finish());
    assert_eq!(track.push(&[1]), Err(PushError::Finished));
    assert_eq!(track.len(), 4);
}

#[test]
fn full_block_of_the_largest_packets_fits() {
    let mut track = Track::new(TrackId([0; 16]));
    for i in 0..120u8 {
        track.push(&[i; MAX_PAYLOAD_BYTES]).expect("room");
    }
    assert_eq!(track.get(99), Some(&[99; MAX_PAYLOAD_BYTES][..]));
    assert_eq!(track.get(119), Some(&[119; MAX_PAYLOAD_BYTES][..]));
}

#[test]
fn whole_blocks_are_dropped_and_the_rest_stays() {
    let mut track = track(230);
    track.drop_before(49);
    assert_eq!((track.first_held(), track.len()), (0, 230));
    track.drop_before(149);
    assert_eq!((track.first_held(), track.len()), (100, 230));
    assert_eq!(track.get(99), None);
    assert_eq!(track.get(100), Some(packet(100).as_slice()));
    track.drop_before(u64::MAX);
    assert_eq!((track.first_held(), track.len()), (200, 230));
    assert_eq!(track.get(229), Some(packet(229).as_slice()));
    track.push(&packet(230)).expect("room");
    assert_eq!(
        (track.len(), track.get(230)),
        (231, Some(packet(230).as_slice()))
    );
    track.finish();
    assert_eq!(track.len(), 231);
    track.drop_before(u64::MAX);
    assert_eq!((track.first_held(), track.len()), (200, 231));
}

#[test]
fn dropping_frees_memory() {
    let mut track = track(3_000);
    let before = track.bytes_held();
    track.drop_before(2_950);
    assert!(
        track.bytes_held() < before / 5,
        "{} of {before}",
        track.bytes_held()
    );
}

#[test]
fn digests_cover_content_order_and_cuts_but_not_dropping() {
    let (mut one, mut two) = (track(130), track(130));
    two.drop_before(100);
    assert_eq!(one.block_digest(0), two.block_digest(0));
    assert_ne!(one.block_digest(0), one.block_digest(1));
    assert_eq!(one.block_digest(2), None);
    assert_eq!(one.digest(), None);
    assert_eq!(one.finish(), two.finish());
    assert!(one.block_digest(2).is_some() && one.digest().is_some());

    let digest = |packets: &[&[u8]]| {
        let mut track = Track::new(TrackId([7; 16]));
        packets
            .iter()
            .for_each(|packet| track.push(packet).expect("room"));
        track.finish()
    };
    let plain = digest(&[b"ab", b"c"]);
    assert_ne!(plain, digest(&[b"a", b"bc"]));
    assert_ne!(plain, digest(&[b"c", b"ab"]));
    assert_ne!(plain, digest(&[b"ab"]));
    assert_eq!(plain, digest(&[b"ab", b"c"]));
}

#[test]
fn a_minute_at_128_kbit_costs_at_most_a_mebibyte() {
    let mut track = Track::new(TrackId([0; 16]));
    // 0.918 MiB of packets, as measured for music.
    (0..3_000).for_each(|_| track.push(&[0x55; 321]).expect("room"));
    assert!(
        track.bytes_held() <= 1 << 20,
        "{} bytes",
        track.bytes_held()
    );
}

#[test]
fn names_are_shown_in_hex() {
    let mut id = [0; 16];
    (id[0], id[15]) = (0xAB, 0x01);
    assert_eq!(TrackId(id).to_string(), "ab000000000000000000000000000001");
}
