//! What a stage's thread takes next. Owned by that thread alone; bounded by admission. Pure.

use std::collections::VecDeque;

use crate::options::Priority;

/// After this many interactive turns in a row a waiting batch job gets one, so that a flood of
/// interactive work slows batch work down and never stops it.
const INTERACTIVE_TURNS: usize = 8;

/// Two queues, each first come, first served.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    interactive: VecDeque<T>,
    batch: VecDeque<T>,
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
    /// A job that has just come.
    pub fn push(&mut self, priority: Priority, job: T) {
        self.of(priority).push_back(job);
    }

    /// A job that has had a turn and needs another: it keeps its place.
    pub fn put_back(&mut self, priority: Priority, job: T) {
        self.of(priority).push_front(job);
    }

    /// The job whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
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
    pub fn remove(&mut self, job: &T)
    where
        T: PartialEq,
    {
        self.interactive.retain(|waiting| waiting != job);
        self.batch.retain(|waiting| waiting != job);
    }

    fn of(&mut self, priority: Priority) -> &mut VecDeque<T> {
        match priority {
            Priority::Interactive => &mut self.interactive,
            Priority::Batch => &mut self.batch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut Queue<u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn interactive_passes_batch_and_each_is_first_come_first_served() {
        let mut queue = Queue::default();
        queue.push(Priority::Batch, 10);
        queue.push(Priority::Interactive, 1);
        queue.push(Priority::Batch, 11);
        queue.push(Priority::Interactive, 2);
        assert_eq!(drain(&mut queue), [1, 2, 10, 11]);
    }

    #[test]
    fn a_job_with_windows_left_keeps_its_place_in_its_class() {
        let mut queue = Queue::default();
        queue.push(Priority::Batch, 1);
        queue.push(Priority::Batch, 2);
        let first = queue.pop().unwrap();
        queue.put_back(Priority::Batch, first);
        queue.push(Priority::Interactive, 9);
        assert_eq!(drain(&mut queue), [9, 1, 2]);
    }

    #[test]
    fn a_flood_of_interactive_work_cannot_starve_batch() {
        let mut queue = Queue::default();
        queue.push(Priority::Batch, 0);
        for job in 1..100 {
            queue.push(Priority::Interactive, job);
        }
        let turn = drain(&mut queue).iter().position(|job| *job == 0);
        assert_eq!(turn, Some(INTERACTIVE_TURNS));
    }

    #[test]
    fn jobs_that_are_given_up_leave_and_the_others_keep_their_order() {
        let mut queue = Queue::default();
        for job in 0..6 {
            queue.push(Priority::Interactive, job);
        }
        queue.push(Priority::Batch, 9);
        queue.remove(&9);
        queue.remove(&2);
        assert_eq!(drain(&mut queue), [0, 1, 3, 4, 5]);
    }

    /// Every sequence of eight steps, against what must hold whatever happens.
    #[test]
    fn in_every_order_nothing_is_lost_or_doubled_and_batch_gets_its_turn() {
        const STEPS: u32 = 8;
        for sequence in 0..5_u32.pow(STEPS) {
            let mut queue = Queue::default();
            // What must come out: in its class first come, first served.
            let mut expected: [VecDeque<u32>; 2] = Default::default();
            let class = |priority| usize::from(priority == Priority::Batch);
            for step in 0..STEPS {
                match sequence / 5_u32.pow(step) % 5 {
                    0 => {
                        queue.push(Priority::Interactive, step);
                        expected[class(Priority::Interactive)].push_back(step);
                    }
                    1 => {
                        queue.push(Priority::Batch, step);
                        expected[class(Priority::Batch)].push_back(step);
                    }
                    2 => {
                        let gone = expected[0].pop_back().or_else(|| expected[1].pop_back());
                        if let Some(job) = gone {
                            queue.remove(&job);
                        }
                    }
                    _ if expected.iter().all(VecDeque::is_empty) => {
                        assert!(queue.is_empty());
                        assert_eq!(queue.pop(), None);
                    }
                    again => {
                        let job = queue.pop().unwrap();
                        let of = usize::from(expected[0].front() != Some(&job));
                        assert_eq!(expected[of].pop_front(), Some(job), "{sequence}");
                        if again == 3 {
                            let priority = [Priority::Interactive, Priority::Batch][of];
                            queue.put_back(priority, job);
                            expected[of].push_front(job);
                        }
                    }
                }
            }
            let left: usize = expected.iter().map(VecDeque::len).sum();
            assert_eq!(drain(&mut queue).len(), left);
        }
    }
}
