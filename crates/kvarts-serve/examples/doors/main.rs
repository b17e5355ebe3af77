//! Measures the front door over loopback: calls per second, and CPU time of the serving process per call.
//! `cargo run --release -p kvarts-serve --example doors [seconds per row]`
mod echo;
mod load;

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use tokio::runtime::Builder;

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let argument = std::env::args().nth(1);
    if argument.as_deref() == Some("serve") {
        return Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(serve());
    }
    let seconds = argument.map_or(Ok(2.0), |text| text.parse())?;
    let mut child =
        Command::new(std::env::current_exe()?).arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut address = String::new();
    BufReader::new(child.stdout.take().ok_or("no pipe")?).read_line(&mut address)?;
    let measured = Builder::new_current_thread().enable_all().build()?.block_on(load::run(address.trim(), seconds));
    drop(child.stdin.take()); // That ends it.
    child.wait()?;
    measured
}

/// Serves until standard input ends.
async fn serve() -> Outcome {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    let ended = async {
        let waiting = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
        drop(waiting.await);
    };
    echo::serve(listener, ended).await;
    Ok(())
}
