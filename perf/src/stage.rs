//! A thread with a runtime of its own, started from code that blocks.

use std::io;
use std::thread::{self, JoinHandle};

use crossbeam::channel::{Sender, bounded};
use kt_core::config::plan::Driver;
use kt_proxy::rt::{self, Engine};

/// Starts a thread named `name`, has `set_up` prepare what needs the runtime, and runs what it gives to its end.
/// Returns once that runs.
///
/// # Errors
///
/// What `set_up` says, or the system, when there can be no thread or runtime.
pub(crate) fn start<Main: Future<Output = ()>>(
    name: &str,
    set_up: impl FnOnce(Engine) -> io::Result<Main> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let (engine, _why) = Engine::choose(Driver::Auto).map_err(io::Error::other)?;
    let (tell, told) = bounded(1);
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        let play = || async {
            match set_up(engine) {
                Ok(main) => {
                    say(&tell, Ok(()));
                    main.await;
                }
                Err(error) => say(&tell, Err(error)),
            }
        };
        if let Err(error) = rt::run(engine, play) {
            say(&tell, Err(error));
        }
    })?;
    told.recv().map_err(|_| io::Error::other("the thread ended before it had started"))??;
    Ok(thread)
}

fn say(tell: &Sender<io::Result<()>>, what: io::Result<()>) {
    // Whoever started the thread waits for the one message that each way through it sends.
    let _ = tell.send(what);
}
