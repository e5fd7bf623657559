//! What a stage's thread takes next. Owned by that thread alone; bounded by admission. Pure.

use std::collections::VecDeque;

use crate::options::Priority;

/// A turn of a class that waits comes after so many of the classes before it, so that a flood of
/// urgent work slows the rest down and never stops it.
const TURNS_BEFORE: usize = 8;

/// What goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Interactive,
    /// What is only a glimpse of what comes later. The turns are in the order of asking, so that
    /// all get them as often.
    Interim,
    Batch,
    /// The same of what is not urgent itself: texts go before glimpses of texts.
    BatchInterim,
}

const CLASSES: usize = 4;

impl Class {
    /// Of interims of what has this priority.
    pub fn interim(priority: Priority) -> Self {
        match priority {
            Priority::Interactive => Self::Interim,
            Priority::Batch => Self::BatchInterim,
        }
    }

    pub fn is_interim(self) -> bool {
        matches!(self, Self::Interim | Self::BatchInterim)
    }
}

impl From<Priority> for Class {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Interactive => Self::Interactive,
            Priority::Batch => Self::Batch,
        }
    }
}

/// Queues of turns, each in the order in which their jobs were submitted: a job that another has
/// overtaken in an earlier stage, or that needs a turn again, has its place.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    classes: [VecDeque<(u64, T)>; CLASSES],
    /// Turns of classes before it since a class that waits has had one.
    passed: [usize; CLASSES],
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            classes: Default::default(),
            passed: Default::default(),
        }
    }
}

impl<T> Queue<T> {
    /// A turn for the job with this number; the turns of one job stay in order.
    pub fn push(&mut self, class: Class, job: u64, turn: T) {
        let queue = &mut self.classes[class as usize];
        let behind_it = if class.is_interim() {
            queue.len()
        } else {
            queue.partition_point(|(other, _)| *other <= job)
        };
        queue.insert(behind_it, (job, turn));
    }

    /// The job whose turn it is, and the turn.
    pub fn pop(&mut self) -> Option<(u64, T)> {
        let waits = |class: &usize| !self.classes[*class].is_empty();
        let due = |class: &usize| self.passed[*class] >= TURNS_BEFORE;
        let class = (0..CLASSES)
            .filter(waits)
            .find(due)
            .or_else(|| (0..CLASSES).find(waits))?;
        let turn = self.classes[class].pop_front();
        for (behind, queue) in self.classes.iter().enumerate().skip(class) {
            let passed = &mut self.passed[behind];
            let waits = behind > class && !queue.is_empty();
            *passed = if waits { *passed + 1 } else { 0 };
        }
        turn
    }

    pub fn is_empty(&self) -> bool {
        self.classes.iter().all(VecDeque::is_empty)
    }

    /// Takes a job out, wherever it waits.
    pub fn remove(&mut self, job: u64) {
        for queue in &mut self.classes {
            queue.retain(|(other, _)| *other != job);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn drain(queue: &mut Queue<()>) -> Vec<u64> {
        std::iter::from_fn(|| queue.pop())
            .map(|(job, ())| job)
            .collect()
    }

    #[test]
    fn interactive_passes_batch_and_each_is_in_the_order_of_submission() {
        let mut queue = Queue::default();
        queue.push(Class::Batch, 11, ());
        queue.push(Class::Interactive, 2, ());
        queue.push(Class::Batch, 10, ());
        queue.push(Class::Interactive, 1, ());
        assert_eq!(drain(&mut queue), [1, 2, 10, 11]);
    }

    #[test]
    fn the_turns_of_a_job_stay_in_order() {
        let mut queue = Queue::default();
        for (job, turn) in [(2, 'c'), (1, 'a'), (2, 'd'), (1, 'b')] {
            queue.push(Class::Interactive, job, turn);
        }
        let turns: String = std::iter::from_fn(|| queue.pop())
            .map(|(_, turn)| turn)
            .collect();
        assert_eq!(turns, "abcd");
    }

    #[test]
    fn a_job_that_needs_another_turn_keeps_its_place_in_its_class() {
        let mut queue = Queue::default();
        queue.push(Class::Batch, 1, ());
        queue.push(Class::Batch, 2, ());
        let (first, ()) = queue.pop().unwrap();
        queue.push(Class::Batch, first, ());
        queue.push(Class::Interactive, 9, ());
        assert_eq!(drain(&mut queue), [9, 1, 2]);
    }

    #[test]
    fn a_flood_of_interactive_work_cannot_starve_batch() {
        let mut queue = Queue::default();
        queue.push(Class::Batch, 0, ());
        for job in 1..100 {
            queue.push(Class::Interactive, job, ());
        }
        let turn = drain(&mut queue).iter().position(|job| *job == 0);
        assert_eq!(turn, Some(TURNS_BEFORE));
    }

    #[test]
    fn interims_come_behind_their_finals_and_take_turns_among_themselves() {
        let mut queue = Queue::default();
        for (priority, jobs) in [
            (Priority::Batch, [0, 7, 2]),
            (Priority::Interactive, [9, 5, 3]),
        ] {
            queue.push(Class::interim(priority), jobs[1], ());
            queue.push(Class::interim(priority), jobs[2], ());
            queue.push(priority.into(), jobs[0], ());
        }
        assert_eq!(drain(&mut queue), [9, 5, 3, 0, 7, 2]);
    }

    #[test]
    fn a_flood_of_finals_leaves_all_others_their_turns() {
        let mut queue = Queue::default();
        queue.push(Class::BatchInterim, 2, ());
        queue.push(Class::Batch, 1, ());
        queue.push(Class::Interim, 0, ());
        for job in 3..100 {
            queue.push(Class::Interactive, job, ());
        }
        let order = drain(&mut queue);
        let at = |job| order.iter().position(|other| *other == job);
        let turns = [0, 1, 2].map(|job| TURNS_BEFORE + job);
        assert_eq!([at(0), at(1), at(2)], turns.map(Some));
    }

    /// As many streams have it that are not urgent, and a device that is too slow for them.
    #[test]
    fn a_flood_of_their_interims_does_not_hold_up_the_texts_of_batch_streams() {
        let mut queue = Queue::default();
        for job in 0..50 {
            queue.push(Class::interim(Priority::Batch), job, ());
        }
        for job in 50..60 {
            queue.push(Priority::Batch.into(), job, ());
        }
        let order = drain(&mut queue);
        let last = order.iter().rposition(|job| *job >= 50);
        // One glimpse for eight texts.
        assert_eq!(last, Some(10));
    }

    #[test]
    fn jobs_that_are_given_up_leave_and_the_others_keep_their_order() {
        let mut queue = Queue::default();
        for job in 0..6 {
            queue.push(Class::Interactive, job, ());
        }
        queue.push(Class::Batch, 9, ());
        queue.remove(9);
        queue.remove(2);
        assert_eq!(drain(&mut queue), [0, 1, 3, 4, 5]);
    }

    /// Every sequence of eight steps, against what must hold whatever happens.
    #[test]
    fn in_every_order_nothing_is_lost_or_doubled_and_batch_gets_its_turn() {
        const STEPS: u32 = 8;
        for sequence in 0..5_u32.pow(STEPS) {
            let mut queue = Queue::default();
            // What must come out: of its class the job that was submitted first.
            let mut expected: [BTreeSet<u64>; 2] = Default::default();
            let priorities = [Class::Interactive, Class::Batch];
            for step in 0..STEPS {
                // Not in the order in which they come.
                let job = u64::from(step ^ 3);
                match sequence / 5_u32.pow(step) % 5 {
                    of @ (0 | 1) => {
                        queue.push(priorities[of as usize], job, ());
                        expected[of as usize].insert(job);
                    }
                    2 => {
                        let gone = expected[0].pop_last().or_else(|| expected[1].pop_last());
                        if let Some(job) = gone {
                            queue.remove(job);
                        }
                    }
                    _ if expected.iter().all(BTreeSet::is_empty) => {
                        assert!(queue.is_empty());
                        assert_eq!(queue.pop(), None);
                    }
                    again => {
                        let (job, ()) = queue.pop().unwrap();
                        let of = usize::from(expected[0].first() != Some(&job));
                        assert_eq!(expected[of].pop_first(), Some(job), "{sequence}");
                        if again == 3 {
                            queue.push(priorities[of], job, ());
                            expected[of].insert(job);
                        }
                    }
                }
            }
            let left: usize = expected.iter().map(BTreeSet::len).sum();
            assert_eq!(drain(&mut queue).len(), left);
        }
    }
}
