//! The step that a load has reached, for a caller that gives the load up halfway.

use std::sync::{Arc, Mutex, PoisonError};

use super::code::rejected::Step;

tokio::task_local! {
    static PROGRESS: LoadProgress;
}

/// The progress of one load. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub struct LoadProgress(Arc<Mutex<Step>>);

impl Default for LoadProgress {
    /// The progress of a load that has not begun.
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Step::Ask)))
    }
}

impl LoadProgress {
    /// Runs a load and notes its steps here. Dropping the future gives the load up.
    pub async fn track<T>(&self, load: impl Future<Output = T>) -> T {
        PROGRESS.scope(self.clone(), load).await
    }

    /// The step that the load has reached.
    #[must_use]
    pub fn step(&self) -> Step {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reach(&self, step: Step) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = step;
    }
}

/// Notes that the load of this task has reached a step. Does nothing for a load that is not tracked.
pub(crate) fn begin(step: Step) {
    // An error means that this load is not tracked.
    PROGRESS.try_with(|progress| progress.reach(step)).ok();
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    /// The process once had one step for all loads: a stop during a swap reported the step that another
    /// component's compile had reached.
    #[tokio::test]
    async fn each_load_notes_its_own_steps() {
        let (one, other) = (LoadProgress::default(), LoadProgress::default());
        one.track(async { begin(Step::Smoke) }).await;
        let given_up = other.track(async {
            begin(Step::Compile);
            pending::<()>().await;
        });
        tokio::select! {
            biased;
            () = given_up => {}
            () = async {} => {}
        }
        begin(Step::Read);
        assert_eq!((one.step(), other.step()), (Step::Smoke, Step::Compile));
    }
}
