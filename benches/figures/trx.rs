//! What does a peer cost in the same minutes? trx sends and plays live sound, so it gets a private sound server that nobody
//! hears: one null sink plays music, `trx-tx` records its monitor and sends to `trx-rx` on 127.0.0.1, which plays to another.
//! (ALSA's own `null` and `file` devices do not pace: trx would run at a thousand times real time.)

use std::thread::sleep;
use std::time::Duration;

use crate::process::Process;
use crate::report::Figure;
use crate::scenes::{Stage, made_by};
use crate::sound_server::Server;

/// Two figures of trx, or rows that say why there are none.
pub(crate) fn scene(stage: &Stage) -> Result<Vec<Figure>, String> {
    let (mut send, mut listen) = (Vec::new(), Vec::new());
    for _ in 0..stage.fewer_runs() {
        match measure(stage) {
            Ok((tx, rx)) => {
                send.push(tx);
                listen.push(rx);
            }
            Err(why) => {
                eprintln!("figures: no figure of trx: {why}");
                break;
            }
        }
    }
    let note = "128 kbit/s; through ALSA’s pulse plugin, which costs, too";
    let figure = |what: &str, values| Figure {
        what: what.into(),
        unit: "%",
        values,
        goal: None,
        note: note.into(),
        made_by: made_by("trx"),
    };
    Ok(vec![
        figure("trx, sender (`trx-tx`)", send),
        figure("trx, listener (`trx-rx`)", listen),
    ])
}

fn measure(stage: &Stage) -> Result<(f64, f64), String> {
    let music = stage.music("trx.wav", stage.span + Duration::from_secs(20), 48_000)?;
    let mut server = Server::prepare_with(&["music", "ears"]);
    server.try_run()?;
    let _player = Process::start(server.client("paplay").arg("--device=music").arg(&music))?;
    let port = (20_000 + 2 * (std::process::id() % 10_000)).to_string();
    let rx = Process::start(server.client("trx-rx").env("PULSE_SINK", "ears").args([
        "-v",
        "0",
        "-h",
        "127.0.0.1",
        "-p",
        &port,
    ]))?;
    let tx = Process::start(
        server
            .client("trx-tx")
            .env("PULSE_SOURCE", "music.monitor")
            .args(["-v", "0", "-h", "127.0.0.1", "-p", &port]),
    )?;
    sleep(Duration::from_secs(3));
    let before = (tx.cpu()?, rx.cpu()?);
    sleep(stage.span);
    let percent = |used: Duration| 100.0 * used.as_secs_f64() / stage.span.as_secs_f64();
    let (tx_cpu, rx_cpu) = (percent(tx.cpu()? - before.0), percent(rx.cpu()? - before.1));
    // A trx that failed to open its device or lost its peer costs nothing, and proves nothing.
    if tx_cpu < 0.3 || rx_cpu < 0.3 {
        return Err(format!(
            "it did not run properly: sender {tx_cpu:.2} %, listener {rx_cpu:.2} %"
        ));
    }
    Ok((tx_cpu, rx_cpu))
}
