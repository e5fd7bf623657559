//! The engines of this environment, so that none outlives it: a model that is freed by a static
//! destructor, or used while one runs, crashes the process at exit.
//!
//! Everything here runs on the environment's JavaScript thread and is shared with nobody.

use std::cell::RefCell;
use std::rc::Rc;
use std::thread::{Builder, JoinHandle};

use crate::cancel::CancelAll;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};

thread_local! {
    static SLOTS: RefCell<Vec<Slot>> = const { RefCell::new(Vec::new()) };
}

/// Where an engine is in its life.
pub enum State {
    Open(Box<Engine>),
    /// A thread opens or closes it; it can be told to hurry.
    Busy(JoinHandle<()>, CancelAll),
    Gone,
}

/// One engine's place, held by its JavaScript object and by the environment.
pub type Slot = Rc<RefCell<State>>;

/// Takes an open engine into the environment's care.
pub fn adopt(engine: Engine) -> Slot {
    track(State::Open(Box::new(engine)))
}

/// Starts a thread for work that must be over before the environment is gone.
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let thread = thread(name, work)?;
    track(State::Busy(thread, CancelAll::default()));
    Ok(())
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
    Some(started.map(|thread| *state = State::Busy(thread, cancel_all)))
}

/// Gives up what a closing engine still drains.
pub fn hurry(slot: &Slot) {
    if let State::Busy(_, cancel_all) = &*slot.borrow() {
        cancel_all.cancel();
    }
}

/// Closes every engine without draining and waits for all of them.
pub fn close_all() {
    let slots = SLOTS.take();
    // All are told to stop before any is waited for.
    for slot in &slots {
        match &*slot.borrow() {
            State::Open(engine) => engine.cancel_all().cancel(),
            State::Busy(_, cancel_all) => cancel_all.cancel(),
            State::Gone => {}
        }
    }
    for slot in slots {
        match slot.replace(State::Gone) {
            State::Open(engine) => engine.close(false),
            State::Busy(thread, _) => {
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
            State::Busy(thread, _) => !thread.is_finished(),
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
