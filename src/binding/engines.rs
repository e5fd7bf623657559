//! The engines of this environment, so that none outlives it: a model that is freed by a static
//! destructor, or used while one runs, crashes the process at exit.
//!
//! Everything here runs on the environment's JavaScript thread and is shared with nobody.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Receiver, bounded};

use crate::cancel::CancelAll;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::log::LogSink;
use crate::options::EngineOptions;

thread_local! {
    static SLOTS: RefCell<Vec<Slot>> = const { RefCell::new(Vec::new()) };
    /// Set when the environment ends: what is opened after that would not be waited for.
    static ENDED: Cell<bool> = const { Cell::new(false) };
}

/// Where an engine is in its life.
pub enum State {
    /// A thread loads its models; the engine comes through the channel.
    Opening(JoinHandle<()>, Receiver<Engine>),
    Open(Box<Engine>),
    /// A thread closes it, and can be told not to drain.
    Closing(JoinHandle<()>, CancelAll),
    Gone,
}

/// One engine's place, held by its JavaScript object and by the environment.
pub type Slot = Rc<RefCell<State>>;

/// Opens an engine on a thread of its own and then calls `done` there with what to call on the
/// JavaScript thread. The engine itself waits in the environment's care: if that call never comes,
/// because the process exits first, the engine is still closed.
pub fn open(
    options: EngineOptions,
    log: Option<LogSink>,
    done: impl FnOnce(Adopt) + Send + 'static,
) -> Result<()> {
    if ENDED.get() {
        return Err(Error::closed());
    }
    let (opened, engine) = bounded(1);
    let adopt = engine.clone();
    let thread = thread("opuscribe-open", move || {
        let failed = match Engine::open(options, log) {
            // Room for one, sent once.
            Ok(engine) => opened.send(engine).err().map(|_| Error::closed()),
            Err(error) => Some(error),
        };
        done(Adopt(failed.map_or(Ok(adopt), Err)));
    })?;
    track(State::Opening(thread, engine));
    Ok(())
}

/// An engine that has been opened, or why it could not be.
pub struct Adopt(Result<Receiver<Engine>>);

impl Adopt {
    /// Puts the engine into its JavaScript object's hands.
    pub fn adopt(self) -> Result<Box<Engine>> {
        self.0?
            .try_recv()
            .map(Box::new)
            .map_err(|_| Error::closed())
    }
}

/// The slot of an engine that was adopted.
pub fn keep(engine: Box<Engine>) -> Slot {
    track(State::Open(engine))
}

/// Closes the engine on a thread of its own and then calls `done`. `None` if it is not open.
pub fn close(slot: &Slot, drain: bool, done: impl FnOnce() + Send + 'static) -> Option<Result<()>> {
    let mut state = slot.borrow_mut();
    let engine = match std::mem::replace(&mut *state, State::Gone) {
        State::Open(engine) => engine,
        other => {
            *state = other;
            return None;
        }
    };
    let cancel_all = engine.cancel_all();
    // If no thread can be had, dropping the closure drops the engine, which closes it here.
    let started = thread("opuscribe-close", move || {
        engine.close(drain);
        done();
    });
    Some(started.map(|thread| *state = State::Closing(thread, cancel_all)))
}

/// Gives up what a closing engine still drains.
pub fn hurry(slot: &Slot) {
    if let State::Closing(_, cancel_all) = &*slot.borrow() {
        cancel_all.cancel();
    }
}

/// Closes every engine without draining and waits for all of them. None is opened after that.
pub fn close_all() {
    ENDED.set(true);
    let slots = SLOTS.take();
    // All are told to stop before any is waited for.
    for slot in &slots {
        match &*slot.borrow() {
            State::Open(engine) => engine.cancel_all().cancel(),
            State::Closing(_, cancel_all) => cancel_all.cancel(),
            State::Opening(..) | State::Gone => {}
        }
    }
    for slot in slots {
        match slot.replace(State::Gone) {
            State::Open(engine) => engine.close(false),
            State::Opening(thread, engine) => {
                let _ = thread.join();
                if let Ok(engine) = engine.try_recv() {
                    engine.close(false);
                }
            }
            State::Closing(thread, _) => {
                let _ = thread.join();
            }
            State::Gone => {}
        }
    }
}

fn track(state: State) -> Slot {
    let slot = Rc::new(RefCell::new(state));
    SLOTS.with_borrow_mut(|slots| {
        // Those that are over leave, so that opening and closing for ever costs nothing.
        slots.retain(|slot| match &*slot.borrow() {
            State::Open(_) => true,
            State::Opening(thread, engine) => !thread.is_finished() || !engine.is_empty(),
            State::Closing(thread, _) => !thread.is_finished(),
            State::Gone => false,
        });
        slots.push(Rc::clone(&slot));
    });
    slot
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|cause| {
            Error::new(
                ErrorKind::OutOfMemory,
                format!("cannot start the thread {name}"),
            )
            .caused_by(cause)
        })
}
