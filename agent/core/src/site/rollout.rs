//! Which rollout policy counts for what.

use tidegate_schema::policy::{OnFailure, RolloutPolicy};
use tidegate_schema::scalar::Name;

use super::ValidSite;

impl ValidSite {
    /// How changes of an app go out. The policy for the app counts before the one for its product, that before the one
    /// that the solution names. In a scaling group the policy for the name under which it runs there counts before all
    /// these; what one leaves open the next says, so that a policy with only `groups` for one app keeps
    /// the waves and times of its solution. `onFailure: rollback` of any of them counts.
    pub fn rollout_policy(&self, product: &str, app: Option<&str>) -> RolloutPolicy {
        let solution = self.deployments.get(product).map(|it| it.solution.as_str());
        self.rollout_policy_of(product, app, solution)
    }

    /// The same of a product of this solution, which may have lost it.
    pub(crate) fn rollout_policy_of(
        &self,
        product: &str,
        app: Option<&str>,
        solution: Option<&str>,
    ) -> RolloutPolicy {
        let deployment = self.deployments.get(product);
        let member = app.and_then(|app| deployment?.member(app));
        // Names order the map, and two policies for one target are a finding.
        let of = |app: Option<&str>| {
            self.rollout_policies.values().find(|policy| {
                let target = policy.applies_to.as_ref();
                target.is_some_and(|target| {
                    target.product == product && target.app.as_ref().map(Name::as_str) == app
                })
            })
        };
        let own = app.and_then(|app| of(Some(app)));
        let version = member.and_then(|member| of(Some(&member.app)));
        let named = solution
            .and_then(|solution| self.solution_rollouts.get(solution))
            .and_then(|name| self.rollout_policies.get(name));
        let all = [own, version, of(None), named];
        all.into_iter().flatten().fold(RolloutPolicy::default(), fill)
    }
}

/// What `stronger` leaves open, `weaker` says.
fn fill(mut stronger: RolloutPolicy, weaker: &RolloutPolicy) -> RolloutPolicy {
    if stronger.waves.is_empty() {
        stronger.waves.clone_from(&weaker.waves);
    }
    if stronger.unattended.is_empty() {
        stronger.unattended.clone_from(&weaker.unattended);
    }
    if weaker.on_failure == OnFailure::Rollback {
        stronger.on_failure = OnFailure::Rollback;
    }
    stronger.groups = stronger.groups.or_else(|| weaker.groups.clone());
    stronger.beta = stronger.beta.or(weaker.beta);
    stronger.bake = stronger.bake.or(weaker.bake);
    stronger.timeout = stronger.timeout.or(weaker.timeout);
    stronger
}
