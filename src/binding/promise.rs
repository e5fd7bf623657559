//! A promise that any thread may settle, once, with a value or a [`Failure`]. It is never rejected.

use napi::bindgen_prelude::{Either, Object, ToNapiValue};
use napi::{Env, JsDeferred};

use super::error::Failure;
use crate::error::{Error, ErrorKind, Result};

type Answer<Value> = Either<Value, Failure>;
type Resolver<Value> = Box<dyn FnOnce(Env) -> napi::Result<Answer<Value>>>;

/// The settling side. Dropped unsettled it settles with a failure: nobody waits for ever.
pub struct Promise<Value: ToNapiValue + 'static>(
    Option<JsDeferred<Answer<Value>, Resolver<Value>>>,
);

impl<Value: ToNapiValue + 'static> Promise<Value> {
    /// Both sides of a new promise.
    pub fn new(env: &Env) -> napi::Result<(Self, Object<'_>)> {
        let (deferred, promise) = env.create_deferred()?;
        Ok((Self(Some(deferred)), promise))
    }

    /// Settles with what `make` gives on the JavaScript thread. Does nothing if the environment is
    /// gone.
    pub fn settle(mut self, make: impl FnOnce() -> Result<Value> + Send + 'static) {
        self.settle_with(Box::new(|_| {
            Ok(match make() {
                Ok(value) => Either::A(value),
                Err(error) => Either::B(error.into()),
            })
        }));
    }

    fn settle_with(&mut self, resolver: Resolver<Value>) {
        if let Some(deferred) = self.0.take() {
            deferred.resolve(resolver);
        }
    }
}

impl<Value: ToNapiValue + 'static> Drop for Promise<Value> {
    fn drop(&mut self) {
        self.settle_with(Box::new(|_| {
            let error = Error::new(
                ErrorKind::WorkerFailed,
                "the work ended without an answer; try again",
            );
            Ok(Either::B(error.into()))
        }));
    }
}
