//! The first installation of a site: what it takes, and what comes after it.

use super::*;
use tidegate_schema::product::Maturity;
use tidegate_schema::solution::FirstInstallation;

/// A site that has nothing: `db`, `web` which requires it, and `mail`; `on_trial` of them are not mature.
fn world(on_trial: &[&str]) -> World {
    let mut web = product("web", "w:1");
    web.requires = vec!["db".to_owned()];
    let mut world =
        World::new(&[], &[product("db", "d:1"), web, product("mail", "m:1")], &json!({}));
    for deployment in world.site.deployments.values_mut() {
        if on_trial.contains(&deployment.product.as_str()) {
            deployment.maturity = Maturity::Trial;
        }
    }
    world
}

fn installed(plan: &Plan) -> Vec<String> {
    let products: BTreeSet<_> = plan.steps().filter_map(|(_, step)| step.product.clone()).collect();
    products.into_iter().collect()
}

/// The site has what the plan makes.
fn deliver(world: &mut World, plan: &Plan) {
    for change in &plan.content.changes.changes {
        let body = world.desired.object(&change.object).unwrap().body();
        let predicted = Prediction::Exact(body.clone().into());
        world.observe(change.object.clone(), Some(&body), predicted);
        world.inventory.entries.insert(change.object.clone(), entry(change.owner.clone()));
    }
    world.baseline = Some(world.reached(plan));
}

#[test]
fn what_is_on_trial_and_what_requires_it_comes_after_the_first_installation() {
    let mut world = world(&["db"]);
    let (plan, report) = world.plan();
    assert!(!report.is_refused());
    assert_eq!(installed(&plan), ["mail"]);
    assert_eq!(codes(&report), ["PLAN/ON_TRIAL", "PLAN/REQUIRES_LATER"]);
    assert_eq!(report.findings[1].args["product"], "web");
    assert_eq!(report.findings[1].args["required"], "db");
    let namespaces = plan.content.changes.changes.iter().filter(|it| it.object.kind == "Namespace");
    let mut namespaces = namespaces;
    assert!(namespaces.all(|it| it.object.name == "mail"), "theirs come with them");
    assert_eq!(check(&plan, &world.site), [""; 0]);

    deliver(&mut world, &plan);
    assert_eq!(world.baseline.as_ref().unwrap().products.keys().collect::<Vec<_>>(), ["mail"]);
    let (plan, report) = world.plan();
    assert_eq!(
        (installed(&plan), codes(&report)),
        (vec!["db".to_owned(), "web".to_owned()], vec![])
    );
    deliver(&mut world, &plan);
    assert!(world.plan().0.is_empty());
}

#[test]
fn the_solution_may_take_what_is_on_trial_and_leave_what_is_mature() {
    let mut world = world(&["db"]);
    let mut say = |product: &str, when| {
        world.site.deployments.get_mut(product).unwrap().first_installation = Some(when);
    };
    say("db", FirstInstallation::With);
    say("mail", FirstInstallation::After);
    let (plan, report) = world.plan();
    assert_eq!(installed(&plan), ["db", "web"]);
    assert_eq!(codes(&report), ["PLAN/AFTER_FIRST_INSTALLATION"]);
}

#[test]
fn where_nothing_is_mature_there_is_nothing_to_keep_apart() {
    let world = world(&["db", "web", "mail"]);
    let (plan, report) = world.plan();
    assert_eq!((installed(&plan).len(), codes(&report)), (3, vec![]));
}

/// Such as by a first installation that somebody ended half way, before anybody wrote that the product is on trial.
#[test]
fn what_has_begun_goes_on() {
    let mut world = world(&["db"]);
    let config = world.desired.objects.iter().find(|it| it.reference.kind == "Secret");
    let config = config.filter(|it| it.owner.product.as_deref() == Some("db")).unwrap();
    world.inventory.entries.insert(config.reference.clone(), entry(config.owner.clone()));
    assert_eq!(installed(&world.plan().0), ["db", "mail", "web"]);

    let on_trial = |it: &mut Deployment| it.maturity = Maturity::Trial;
    world.site.deployments.values_mut().for_each(on_trial);
    assert_eq!(installed(&world.plan().0), ["db", "mail", "web"], "nothing is mature");
}
