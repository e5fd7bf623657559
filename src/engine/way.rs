//! The way to the GPU stage, which tells whether something has come on it that goes before interims.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, select, unbounded};

use super::flow::{Message, Part};
use super::recognize::Task;
use crate::cancel::Cancel;
use crate::options::Priority;

/// Both ends.
pub(crate) fn way() -> (Outbox, Inbox) {
    let (sender, receiver) = unbounded();
    let urgent = Arc::new(AtomicUsize::new(0));
    let outbox = Outbox {
        sender,
        urgent: Arc::clone(&urgent),
    };
    let inbox = Inbox {
        receiver,
        urgent,
        taken: 0,
    };
    (outbox, inbox)
}

/// The end of the VAD stage. Dropping it ends the GPU stage.
pub(crate) struct Outbox {
    sender: Sender<Message<Task>>,
    /// Urgent messages that were sent.
    urgent: Arc<AtomicUsize>,
}

impl Outbox {
    pub fn send(&self, message: Message<Task>) {
        if is_urgent(&message) {
            self.urgent.fetch_add(1, Ordering::Release);
        }
        // Fails only when the stage is gone, and then drops the ticket, which answers the job.
        let _ = self.sender.send(message);
    }
}

/// The end of the GPU stage.
pub(crate) struct Inbox {
    receiver: Receiver<Message<Task>>,
    urgent: Arc<AtomicUsize>,
    /// Those of them that were taken.
    taken: usize,
}

impl Inbox {
    /// Waits for the next, or for what comes back meanwhile.
    pub fn wait<Back>(&mut self, back: &Receiver<Back>) -> Woken<Back> {
        let message = select! {
            recv(back) -> back => match back {
                Ok(back) => return Woken::Back(back),
                // Nothing ever comes back.
                Err(_) => self.receiver.recv(),
            },
            recv(self.receiver) -> message => message,
        };
        message.map_or(Woken::End, |message| Woken::Message(self.count(message)))
    }

    /// The next, if there is one.
    pub fn next(&mut self) -> Option<Message<Task>> {
        let message = self.receiver.try_recv().ok()?;
        Some(self.count(message))
    }

    /// What tells whether something urgent has come since now.
    pub fn urgency(&self) -> Urgency {
        Urgency {
            urgent: Arc::clone(&self.urgent),
            taken: self.taken,
        }
    }

    fn count(&mut self, message: Message<Task>) -> Message<Task> {
        self.taken += usize::from(is_urgent(&message));
        message
    }
}

/// What a wait for a message ended with.
pub(crate) enum Woken<Back> {
    Message(Message<Task>),
    Back(Back),
    /// The other end is gone.
    End,
}

/// Whether something urgent has come since this was made.
pub(crate) struct Urgency {
    urgent: Arc<AtomicUsize>,
    taken: usize,
}

impl Urgency {
    /// The flag, which something urgent that comes raises too.
    pub fn until_urgent(&self, cancel: &Cancel) -> Cancel {
        cancel.until_more(&self.urgent, self.taken)
    }
}

fn is_urgent(message: &Message<Task>) -> bool {
    message.flow.priority == Priority::Interactive
        && matches!(&message.part, Part::Piece(Task::Speech(speech)) if !speech.windows.is_empty())
}
