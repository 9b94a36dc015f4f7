//! Is what holders answer what was on air? PROTOCOL's S3 for repairs: whoever repairs a frame sends what was, or would have been, on
//! the media port; nobody repairs what is still to come; and on the media port nothing is said twice.

use lanradio::wire::ids::Numbering;
use lanradio::wire::media::{Flags, MediaPacket};
use lanradio::wire::{FrameIndex, StationId};

use crate::checks::Said;
use crate::world::World;

impl World {
    /// A host sends a repair, to one host or to the group.
    pub(crate) fn sent_repair(&mut self, number: usize, bytes: &[u8]) {
        self.speaks(number, "a repair");
        let packet = MediaPacket::parse(bytes).expect("our own packet");
        let (station, index) = place(&packet);
        let top = self.checks.tops.get(&station);
        if top.is_none_or(|top| index > *top) {
            let text =
                format!("{number} repairs frame {index}, and nobody has sent more than {top:?}");
            self.violate("R1", text);
        }
        self.has_repaired(number, &packet);
    }

    /// A packet that is no part of the stream: an answer to another host, or from a host's own copy.
    pub(crate) fn has_repaired(&mut self, number: usize, packet: &MediaPacket<'_>) {
        self.count("repairs", 1);
        let (station, index) = place(packet);
        let said = said(packet);
        if let Some((before, by)) =
            self.checks
                .planned
                .get(&(station, packet.element.plan.0, index))
            && *before != said
        {
            let text = format!("{number} repairs frame {index} with what {by} did not plan");
            self.violate("S3", text);
        }
        self.has_said(number, packet);
    }

    /// S3: of one station, term and index everybody says the same, by whichever way.
    pub(crate) fn has_said(&mut self, number: usize, packet: &MediaPacket<'_>) {
        let (station, index) = place(packet);
        let (term, said) = (packet.element.term, said(packet));
        let key = (station, term, index);
        match self.checks.said.get(&key) {
            Some((before, by)) if *before != said => {
                let text = format!(
                    "{number} and {by} differ in frame {index} of term {}",
                    self.term_text(term)
                );
                self.violate("S3", text);
            }
            Some(_) => {}
            None => drop(self.checks.said.insert(key, (said, number))),
        }
    }

    /// Everything before frame `next` was on air, or would have been.
    pub(crate) fn has_passed(&mut self, station: StationId, next: FrameIndex) {
        if let Some(last) = next.0.checked_sub(1).map(FrameIndex) {
            let top = self.checks.tops.entry(station).or_insert(last);
            *top = last.max(*top);
        }
    }

    /// A frame goes to the media port: whoever leads says it once, and whoever else does says that it stands in.
    pub(crate) fn is_on_air(&mut self, number: usize, packet: &MediaPacket<'_>) {
        let (station, index) = place(packet);
        let element = packet.element;
        self.has_passed(station, index.plus(1));
        let (key, planned) = ((station, element.plan.0, index), (said(packet), number));
        self.checks.planned.entry(key).or_insert(planned);
        if element.flags.has(Flags::COVER) || element.flags.has(Flags::SOLO) {
            return;
        }
        let host = &mut self.hosts[number];
        let leads = element.term.leader == host.node.config().node.short();
        let before = host.watch.sent.insert((station, element.term), index);
        let again = before.is_some_and(|before| index <= before);
        if again || !leads {
            let text = format!("{number} sends frame {index} after {before:?}, and leads: {leads}");
            self.violate("R2", text);
        }
    }
}

fn place(packet: &MediaPacket<'_>) -> (StationId, FrameIndex) {
    let numbering = Numbering::of(packet.station);
    let index = numbering.index(packet.element.index_high, packet.seq);
    (packet.station, index)
}

fn said(packet: &MediaPacket<'_>) -> Said {
    (packet.seq.0, packet.timestamp.0, packet.payload.to_vec())
}
