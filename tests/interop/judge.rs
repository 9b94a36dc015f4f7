//! Is the recording the music, without a hole? Where in the source does each second of it come from?

/// Samples of a window: a second.
const WINDOW: usize = 48_000;
/// Windows overlap: a place that is wrong is in four of them.
const HOP: usize = 12_000;
/// How well a window must follow its source.
const ENOUGH: f64 = 0.95;
/// For the search, sound is averaged over so many samples.
const COARSE: usize = 8;
/// Decoders that join a stream in its middle need a moment, and so do fades at both ends.
const EDGE: usize = 9_600;

/// A stretch of a recording that has one distance from its source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stretch {
    /// Its first sample in the recording.
    pub(crate) from: usize,
    /// The sample after its last one.
    pub(crate) to: usize,
    /// How many samples earlier the same sound stands in the source.
    pub(crate) distance: isize,
    /// The worst correlation of its windows.
    pub(crate) worst: f64,
}

impl Stretch {
    pub(crate) fn seconds(&self) -> f64 {
        (self.to - self.from) as f64 / 48_000.0
    }
}

/// The stretches of `heard` that are `source`, in order. Both have the same number of channels.
pub(crate) fn stretches(source: &[Vec<f32>], heard: &[Vec<f32>]) -> Vec<Stretch> {
    let coarse = (average(&source[0]), average(&heard[0]));
    let mut found: Vec<Stretch> = Vec::new();
    let mut at = EDGE;
    while at + WINDOW <= heard[0].len() {
        let known = found.last().map(|stretch| stretch.distance);
        let fits = |distance: isize| {
            let worst = correlation(source, heard, at, distance);
            (worst >= ENOUGH).then_some((distance, worst))
        };
        let fit = known.and_then(fits).or_else(|| {
            let distance = search(&coarse, source, heard, at)?;
            fits(distance)
        });
        if let Some((distance, worst)) = fit {
            match found
                .last_mut()
                .filter(|last| last.distance == distance && last.to + HOP == at + WINDOW)
            {
                Some(last) => (last.to, last.worst) = (at + WINDOW, last.worst.min(worst)),
                None => found.push(Stretch {
                    from: at,
                    to: at + WINDOW,
                    distance,
                    worst,
                }),
            }
        }
        at += HOP;
    }
    found
}

/// Panics unless `heard` is one unbroken stretch of `source` of at least `seconds`.
pub(crate) fn assert_whole(
    source: &[Vec<f32>],
    heard: &[Vec<f32>],
    seconds: f64,
    whose: &str,
) -> Stretch {
    let found = stretches(source, heard);
    let [only] = found[..] else {
        panic!(
            "{whose}: not one stretch of {} s: {found:?}",
            heard[0].len() / 48_000
        );
    };
    // What was recorded after the source's end is not music.
    let recorded = heard[0]
        .len()
        .min((source[0].len() as isize + only.distance) as usize);
    assert!(
        only.from == EDGE && only.to + WINDOW + HOP > recorded,
        "{whose}: {only:?} of {recorded}"
    );
    assert!(only.seconds() >= seconds, "{whose}: {only:?}");
    println!(
        "{whose}: {:.1} s, correlation {:.4}, distance {}",
        only.seconds(),
        only.worst,
        only.distance
    );
    only
}

/// The worst correlation of all channels in the window at `at`; −1 beyond the ends of the source.
fn correlation(source: &[Vec<f32>], heard: &[Vec<f32>], at: usize, distance: isize) -> f64 {
    let from = at as isize - distance;
    if from < 0 || from as usize + WINDOW > source[0].len() {
        return -1.0;
    }
    let of = |(source, heard): (&Vec<f32>, &Vec<f32>)| {
        likeness(&source[from as usize..][..WINDOW], &heard[at..at + WINDOW])
    };
    source.iter().zip(heard).map(of).fold(1.0, f64::min)
}

fn likeness(a: &[f32], b: &[f32]) -> f64 {
    let (mut product, mut of_a, mut of_b) = (0.0, 1e-9, 1e-9);
    for (a, b) in a.iter().zip(b) {
        product += f64::from(a * b);
        of_a += f64::from(a * a);
        of_b += f64::from(b * b);
    }
    product / (of_a * of_b).sqrt()
}

fn average(sound: &[f32]) -> Vec<f32> {
    sound
        .chunks_exact(COARSE)
        .map(|chunk| chunk.iter().sum::<f32>() / COARSE as f32)
        .collect()
}

/// The distance at which the first quarter of the window fits best.
fn search(
    coarse: &(Vec<f32>, Vec<f32>),
    source: &[Vec<f32>],
    heard: &[Vec<f32>],
    at: usize,
) -> Option<isize> {
    let part = WINDOW / 4;
    let window = &coarse.1[at / COARSE..(at + part) / COARSE];
    let rough = crate::measure::find(&coarse.0, window, 0, isize::MAX)? * COARSE as isize;
    let fine = |from: isize| {
        let from = usize::try_from(from).ok()?;
        let there = source[0].get(from..from + part)?;
        Some((
            likeness(there, &heard[0][at..at + part]),
            at as isize - from as isize,
        ))
    };
    let around = (rough - 2 * COARSE as isize..=rough + 2 * COARSE as isize).filter_map(fine);
    around
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, distance)| distance)
}

#[test]
fn the_judge_finds_a_missing_block_a_repeated_one_and_a_wrong_pitch() {
    let music = crate::music::piece(48_000, 2, 8.0).channels;
    let part = |range: std::ops::Range<usize>| {
        music
            .iter()
            .map(|side| side[range.clone()].to_vec())
            .collect::<Vec<_>>()
    };
    let whole = part(48_000..384_000);
    assert_eq!(
        assert_whole(&music, &whole, 6.0, "itself").distance,
        -48_000
    );
    let join = |parts: [Vec<Vec<f32>>; 2]| {
        let [mut first, second] = parts;
        first
            .iter_mut()
            .zip(second)
            .for_each(|(side, more)| side.extend(more));
        first
    };
    let missing = join([part(0..180_000), part(180_960..384_000)]);
    let twice = join([part(0..180_000), part(179_880..384_000)]);
    for (name, broken) in [("missing", missing), ("twice", twice)] {
        assert_eq!(stretches(&music, &broken).len(), 2, "{name}");
    }
    // A semitone is 6 %; a hundredth of that is enough to be found.
    let bent = music
        .iter()
        .map(|side| {
            (0..360_000)
                .map(|k| side[(k as f64 * 1.0006) as usize])
                .collect()
        })
        .collect::<Vec<_>>();
    assert!(stretches(&music, &bent).len() != 1);
    let crossed = vec![music[1].clone(), music[0].clone()];
    assert!(stretches(&music, &crossed).is_empty());
}
