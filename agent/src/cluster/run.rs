//! What is kept of a try of a task: its Job, its pods, and what their containers wrote.

use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use tidegate_core::live::Gap;
use tidegate_core::object::{Object, ObjectRef, text_of};
use tidegate_core::run::{LogOf, RunLog, TaskRun};

use super::pods::JOB_NAME;
use super::{Cluster, WIDTH};

/// How long each question may take: the release waits for the answers, and goes on without those that are late.
const DEADLINE: Duration = Duration::from_secs(5);

/// So many lines of a log are asked for: its last ones.
const LINES: &str = "2000";

/// So much of these lines is read, in bytes. The kubelet counts from the first line that it sends (Kubernetes API,
/// `limitBytes`), so that of very long lines the last may be missing.
const BYTES: &str = "1048576";

impl Cluster {
    /// A try of a task as the server tells it now. What it does not tell is a gap of the answer.
    pub async fn run(&self, step: &str, reference: &ObjectRef) -> (TaskRun, Vec<RunLog>) {
        let job = in_time(self.job(reference)).await;
        let there = job.as_ref().ok().and_then(Option::as_ref);
        let pods = in_time(self.pods_of_job(reference, there)).await;
        let job = job.as_ref().map(Option::as_ref).map_err(Clone::clone);
        let pods = pods.as_deref().map_err(Clone::clone);
        let mut run = TaskRun::of(step, reference, job, pods);
        let asked: Vec<BoxFuture<'_, _>> = run
            .logs_wanted()
            .into_iter()
            .map(|of| {
                async {
                    let log = in_time(self.log_of(&reference.namespace, &of)).await;
                    (of, log)
                }
                .boxed()
            })
            .collect();
        let logs = futures::stream::iter(asked).buffer_unordered(WIDTH).collect().await;
        let logs = run.take_logs(logs);
        (run, logs)
    }

    /// The Job as the server has it, whatever the watches say.
    pub(super) async fn job(&self, reference: &ObjectRef) -> Result<Option<Object>, Gap> {
        let Some(kind) = self.kinds.readable("batch/v1", &reference.kind).await? else {
            return Ok(None);
        };
        self.fetch(&kind, reference).await.map_err(|error| error.gap())
    }

    /// The pods that the Job controls; of one that is gone, those that are left of its name.
    async fn pods_of_job(
        &self,
        reference: &ObjectRef,
        job: Option<&Object>,
    ) -> Result<Vec<Object>, Gap> {
        let selector = format!("{JOB_NAME}={}", reference.name);
        let mut pods: Vec<Object> = self.pods_of(&reference.namespace, &selector).await?;
        if let Some(job) = job {
            pods.retain(|pod| {
                pod.controller().is_some_and(|owner| text_of(owner, "uid") == job.uid())
            });
        }
        Ok(pods)
    }

    async fn log_of(&self, namespace: &str, of: &LogOf) -> Result<String, Gap> {
        let previous = if of.is_before { "true" } else { "false" };
        let which = [
            ("container", of.container.as_str()),
            ("tailLines", LINES),
            ("limitBytes", BYTES),
            ("previous", previous),
        ];
        self.read_log(namespace, &of.pod, &which).await.map_err(|error| error.gap())
    }
}

/// The answer, or that it was late.
async fn in_time<T>(answer: impl Future<Output = Result<T, Gap>>) -> Result<T, Gap> {
    match tokio::time::timeout(DEADLINE, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(Gap {
            code: "CLUSTER/UNREACHABLE".to_owned(),
            message: format!("no answer within {} s", DEADLINE.as_secs()),
        }),
    }
}
