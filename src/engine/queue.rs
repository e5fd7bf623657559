//! What a stage's thread takes next. Owned by that thread alone; bounded by admission. Pure.

use std::collections::VecDeque;

use crate::options::Priority;

/// After this many interactive turns in a row a waiting batch job gets one, so that a flood of
/// interactive work slows batch work down and never stops it.
const INTERACTIVE_TURNS: usize = 8;

/// Two queues of turns, each in the order in which their jobs were submitted: a job that another
/// has overtaken in an earlier stage, or that needs a turn again, has its place.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    interactive: VecDeque<(u64, T)>,
    batch: VecDeque<(u64, T)>,
    interactive_turns: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            interactive: VecDeque::new(),
            batch: VecDeque::new(),
            interactive_turns: 0,
        }
    }
}

impl<T> Queue<T> {
    /// A turn for the job with this number; the turns of one job stay in order.
    pub fn push(&mut self, priority: Priority, job: u64, turn: T) {
        let queue = match priority {
            Priority::Interactive => &mut self.interactive,
            Priority::Batch => &mut self.batch,
        };
        let behind_it = queue.partition_point(|(other, _)| *other <= job);
        queue.insert(behind_it, (job, turn));
    }

    /// The job whose turn it is, and the turn.
    pub fn pop(&mut self) -> Option<(u64, T)> {
        let batch_waits = !self.batch.is_empty();
        if self.interactive.is_empty()
            || (batch_waits && self.interactive_turns >= INTERACTIVE_TURNS)
        {
            self.interactive_turns = 0;
            return self.batch.pop_front();
        }
        self.interactive_turns = if batch_waits {
            self.interactive_turns + 1
        } else {
            0
        };
        self.interactive.pop_front()
    }

    pub fn is_empty(&self) -> bool {
        self.interactive.is_empty() && self.batch.is_empty()
    }

    /// Takes a job out, wherever it waits.
    pub fn remove(&mut self, job: u64) {
        self.interactive.retain(|(other, _)| *other != job);
        self.batch.retain(|(other, _)| *other != job);
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
        queue.push(Priority::Batch, 11, ());
        queue.push(Priority::Interactive, 2, ());
        queue.push(Priority::Batch, 10, ());
        queue.push(Priority::Interactive, 1, ());
        assert_eq!(drain(&mut queue), [1, 2, 10, 11]);
    }

    #[test]
    fn the_turns_of_a_job_stay_in_order() {
        let mut queue = Queue::default();
        for (job, turn) in [(2, 'c'), (1, 'a'), (2, 'd'), (1, 'b')] {
            queue.push(Priority::Interactive, job, turn);
        }
        let turns: String = std::iter::from_fn(|| queue.pop())
            .map(|(_, turn)| turn)
            .collect();
        assert_eq!(turns, "abcd");
    }

    #[test]
    fn a_job_that_needs_another_turn_keeps_its_place_in_its_class() {
        let mut queue = Queue::default();
        queue.push(Priority::Batch, 1, ());
        queue.push(Priority::Batch, 2, ());
        let (first, ()) = queue.pop().unwrap();
        queue.push(Priority::Batch, first, ());
        queue.push(Priority::Interactive, 9, ());
        assert_eq!(drain(&mut queue), [9, 1, 2]);
    }

    #[test]
    fn a_flood_of_interactive_work_cannot_starve_batch() {
        let mut queue = Queue::default();
        queue.push(Priority::Batch, 0, ());
        for job in 1..100 {
            queue.push(Priority::Interactive, job, ());
        }
        let turn = drain(&mut queue).iter().position(|job| *job == 0);
        assert_eq!(turn, Some(INTERACTIVE_TURNS));
    }

    #[test]
    fn jobs_that_are_given_up_leave_and_the_others_keep_their_order() {
        let mut queue = Queue::default();
        for job in 0..6 {
            queue.push(Priority::Interactive, job, ());
        }
        queue.push(Priority::Batch, 9, ());
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
            let priorities = [Priority::Interactive, Priority::Batch];
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
