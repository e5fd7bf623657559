//! Every order in which threads can come in, work, give up and leave.
#![cfg(test)]
#![allow(dead_code)]

#[path = "../../src/engine/admission.rs"]
mod admission;

use admission::{Admission, Full, Load, Place};
use loom::sync::Arc;
use loom::thread;

const IDLE: Load = Load {
    queued: 0,
    running: 0,
    bytes: 0,
};

#[test]
fn the_last_place_is_given_to_one_of_two() {
    loom::model(|| {
        let admission = Arc::new(Admission::new(1, 100));
        let other = thread::spawn({
            let admission = Arc::clone(&admission);
            move || Place::take(&admission, 60)
        });
        let mine = Place::take(&admission, 60);
        let others = other.join().unwrap();
        assert!(mine.is_err() || others.is_err());
        drop((mine, others));
        assert_eq!(admission.load(), IDLE);
        assert!(Place::take(&admission, 60).is_ok());
    });
}

#[test]
fn bytes_are_never_more_than_allowed() {
    loom::model(|| {
        let admission = Arc::new(Admission::new(3, 100));
        let first = Place::take(&admission, 40);
        let other = thread::spawn({
            let admission = Arc::clone(&admission);
            move || Place::take(&admission, 60)
        });
        let mine = Place::take(&admission, 60);
        let others = other.join().unwrap();
        assert!(mine.is_ok() != others.is_ok());
        assert!(matches!(
            mine.as_ref().err().or(others.as_ref().err()),
            Some(Full::Bytes(60))
        ));
        drop((first, mine, others));
        assert_eq!(admission.load(), IDLE);
    });
}

/// The caller is answered, or gives up, while one stage works on the job, hands it on, and another takes it.
#[test]
fn a_place_comes_back_once_whenever_the_caller_gives_up() {
    loom::model(|| {
        let admission = Arc::new(Admission::new(1, 100));
        let place = Arc::new(Place::take(&admission, 60).unwrap());
        let stages = thread::spawn({
            let place = Arc::clone(&place);
            move || {
                drop(place.work());
                drop(place.work());
            }
        });
        place.leave();
        assert!(admission.load().queued <= 1);
        drop(place);
        stages.join().unwrap();
        assert_eq!(admission.load(), IDLE);
        // An underflow would have made room for more than one, or for none.
        let next = Place::take(&admission, 60);
        assert!(next.is_ok());
        assert_eq!(Place::take(&admission, 60).unwrap_err(), Full::Jobs);
    });
}

/// Two stages at work at the same time, as on a long file.
#[test]
fn a_place_that_two_stages_work_on_comes_back_once() {
    loom::model(|| {
        let admission = Arc::new(Admission::new(1, 100));
        let place = Arc::new(Place::take(&admission, 60).unwrap());
        let stages = [0, 1].map(|_| {
            thread::spawn({
                let place = Arc::clone(&place);
                move || {
                    drop(place.work());
                }
            })
        });
        place.leave();
        drop(place);
        for stage in stages {
            stage.join().unwrap();
        }
        assert_eq!(admission.load(), IDLE);
        assert!(Place::take(&admission, 60).is_ok());
    });
}
