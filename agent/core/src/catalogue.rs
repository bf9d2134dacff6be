//! The versions of the catalogue: by which of them an upgrade goes, and which of them fit together.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use semver::{Version, VersionReq};
use tidegate_schema::finding::{Finding, Place};
use tidegate_schema::product::{ProductVersion, Requirement};

/// So many choices are looked at before it is not known whether anything fits: sites have tens of products, and most of
/// them have nothing to do with each other.
const CHOICES: usize = 100_000;

/// All versions of all products, as far as others count on them.
#[derive(Clone, Debug, Default)]
pub struct Catalogue(BTreeMap<String, BTreeMap<Version, Entry>>);

#[derive(Clone, Debug)]
struct Entry {
    requires: Vec<Requirement>,
    upgrades_from: Option<VersionReq>,
}

/// Whether there are versions that fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// These do, of the products that are asked for or required, with as few others than were asked for as can be.
    Together(BTreeMap<String, Version>),
    /// None do, because of these facts, of which none can be left out: `PRODUCT VERSIONS → REQUIRED RANGE`, and `PRODUCT ≥
    /// VERSION` for what is delivered.
    Never(Vec<String>),
    /// There are too many choices to say.
    Unknown,
}

impl Catalogue {
    /// Of the documents.
    pub fn of<'a>(versions: impl Iterator<Item = (&'a str, &'a ProductVersion)>) -> Self {
        let mut all: BTreeMap<String, BTreeMap<Version, Entry>> = BTreeMap::new();
        for (product, version) in versions {
            let entry = Entry {
                requires: version.requires.clone(),
                upgrades_from: version.upgrades_from.clone(),
            };
            all.entry(product.to_owned()).or_default().insert(version.version.clone(), entry);
        }
        Self(all)
    }

    /// The fewest versions by which a product can be upgraded, from the delivered one to the wanted one; of equally many the
    /// higher ones.
    pub fn upgrade_path(
        &self,
        product: &str,
        from: &Version,
        to: &Version,
    ) -> Option<Vec<Version>> {
        let versions = self.0.get(product)?;
        let mut before: BTreeMap<&Version, &Version> = BTreeMap::new();
        let mut open = VecDeque::from([from]);
        while let Some(here) = open.pop_front() {
            for (next, entry) in versions.iter().rev() {
                let is_step = next > here && next <= to && !before.contains_key(next);
                if is_step && entry.takes(here) {
                    before.insert(next, here);
                    open.push_back(next);
                }
            }
        }
        let mut path = vec![to.clone()];
        let mut here = to;
        while here != from {
            here = before.get(here)?;
            path.push(here.clone());
        }
        path.reverse();
        Some(path)
    }

    /// Versions that fit together, next to what is asked for: none below what is delivered or out of its reach in one
    /// upgrade, everything required there.
    pub fn fit(
        &self,
        asked: &BTreeMap<String, Version>,
        delivered: &BTreeMap<String, Version>,
    ) -> Fit {
        let choices = self.choices(asked, delivered);
        let all: BTreeSet<&str> = choices.keys().copied().collect();
        let mut search = Search::new(self, &choices);
        let fit = search.run(&all).and_then(|found| match found {
            Some(found) => Ok(Fit::Together(found)),
            None => search.conflict(all).map(|it| Fit::Never(self.facts(&it, &choices, delivered))),
        });
        fit.unwrap_or_else(|TooMany| Fit::Unknown)
    }

    /// What could be asked for where what is asked for does not fit, or why nothing can: a remark at a place.
    pub fn advice(
        &self,
        place: Option<Place>,
        asked: &BTreeMap<String, Version>,
        delivered: &BTreeMap<String, Version>,
    ) -> Option<Finding> {
        match self.fit(asked, delivered) {
            Fit::Together(found) => {
                let change = |(product, version): (&String, &Version)| match asked.get(product) {
                    Some(asked) if asked == version => None,
                    Some(asked) => Some(format!("{product} {asked} → {version}")),
                    None if delivered.contains_key(product) => None,
                    None => Some(format!("+ {product} {version}")),
                };
                let changes: Vec<String> = found.iter().filter_map(change).collect();
                let finding = Finding::note("SOLUTION/VERSIONS_THAT_FIT").at(place);
                (!changes.is_empty()).then(|| finding.with("versions", changes.join(", ")))
            }
            Fit::Never(facts) => {
                let finding = Finding::note("SOLUTION/NO_VERSIONS_FIT").at(place);
                Some(finding.with("facts", facts.join("; ")))
            }
            Fit::Unknown => None,
        }
    }

    /// Without requirements of other products than these.
    #[must_use]
    pub fn among<V>(&self, products: &BTreeMap<String, V>) -> Self {
        let mut own = self.clone();
        for entry in own.0.values_mut().flat_map(BTreeMap::values_mut) {
            entry.requires.retain(|it| products.contains_key(it.product.as_str()));
        }
        own
    }

    /// For each product that matters the versions that it may have, the best first.
    fn choices<'a>(
        &'a self,
        asked: &'a BTreeMap<String, Version>,
        delivered: &'a BTreeMap<String, Version>,
    ) -> Choices<'a> {
        let mut choices = Choices::new();
        let mut open: Vec<&str> = asked.keys().map(String::as_str).collect();
        while let Some(product) = open.pop() {
            if choices.contains_key(product) {
                continue;
            }
            let own = self.choices_of(product, asked.get(product), delivered.get(product));
            let entries = own.iter().filter_map(|choice| self.entry(product, choice.version?));
            open.extend(entries.flat_map(|it| &it.requires).map(|it| it.product.as_str()));
            choices.insert(product, own);
        }
        choices
    }

    fn choices_of<'a>(
        &'a self,
        product: &str,
        asked: Option<&'a Version>,
        delivered: Option<&'a Version>,
    ) -> Vec<Choice<'a>> {
        let Some(asked) = asked else {
            // What no solution has stays as it is delivered, or has to be added.
            let Some(delivered) = delivered else {
                let all = self.0.get(product).into_iter().flat_map(|it| it.keys().rev());
                let all = all.map(|version| Choice { version: Some(version), cost: 1 });
                return std::iter::once(Choice { version: None, cost: 0 }).chain(all).collect();
            };
            return vec![Choice { version: Some(delivered), cost: 0 }];
        };
        let within = |(version, entry): &(&Version, &Entry)| {
            delivered.is_none_or(|delivered| {
                *version == delivered || (*version > delivered && entry.takes(delivered))
            })
        };
        let all = self.0.get(product).into_iter().flatten().filter(within);
        let (lower, higher): (Vec<_>, Vec<_>) =
            all.map(|(version, _)| version).partition(|version| *version < asked);
        let raised = higher.into_iter().map(|it| (it, usize::from(it != asked)));
        let lowered = lower.into_iter().rev().map(|it| (it, 2));
        let all = raised.chain(lowered);
        all.map(|(version, cost)| Choice { version: Some(version), cost }).collect()
    }

    fn entry(&self, product: &str, version: &Version) -> Option<&Entry> {
        self.0.get(product)?.get(version)
    }

    /// What some products' versions require of others, and what is delivered of those.
    fn facts(
        &self,
        products: &BTreeSet<&str>,
        choices: &Choices<'_>,
        delivered: &BTreeMap<String, Version>,
    ) -> Vec<String> {
        let mut ranges: BTreeMap<(&str, &str, String), Vec<String>> = BTreeMap::new();
        for product in products {
            let versions = choices.get(product).into_iter().flatten().filter_map(|it| it.version);
            for version in versions {
                for requirement in
                    self.entry(product, version).into_iter().flat_map(|it| &it.requires)
                {
                    let range =
                        requirement.version.as_ref().map_or("*".into(), ToString::to_string);
                    let key = (*product, requirement.product.as_str(), range);
                    ranges.entry(key).or_default().push(version.to_string());
                }
            }
        }
        let required: BTreeSet<&str> = ranges.keys().map(|(_, required, _)| *required).collect();
        let bounds = required
            .iter()
            .filter_map(|product| Some(format!("{product} ≥ {}", delivered.get(*product)?)));
        let bounds: Vec<String> = bounds.collect();
        let told = ranges.into_iter().map(|((product, required, range), versions)| {
            format!("{product} {} → {required} {range}", versions.join(", "))
        });
        told.chain(bounds).collect()
    }
}

impl Entry {
    /// Whether it can be reached from a version in one upgrade.
    fn takes(&self, from: &Version) -> bool {
        self.upgrades_from.as_ref().is_none_or(|supported| supported.matches(from))
    }
}

/// One version that a product may have.
#[derive(Clone, Copy)]
struct Choice<'a> {
    /// `None`: it is left out.
    version: Option<&'a Version>,
    /// 0 for what was asked for, 1 for a higher version and for what is added, 2 for a lower one.
    cost: usize,
}

type Choices<'a> = BTreeMap<&'a str, Vec<Choice<'a>>>;

/// There are more choices than are looked at.
struct TooMany;

/// A search by trying, the cheapest first.
struct Search<'a> {
    catalogue: &'a Catalogue,
    choices: &'a Choices<'a>,
    /// Products that require each other in some version.
    related: BTreeMap<&'a str, BTreeSet<&'a str>>,
    /// Choices that may still be looked at.
    left: usize,
}

impl<'a> Search<'a> {
    fn new(catalogue: &'a Catalogue, choices: &'a Choices<'a>) -> Self {
        let mut related: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (product, own) in choices {
            let entries = own.iter().filter_map(|choice| catalogue.entry(product, choice.version?));
            for requirement in entries.flat_map(|entry| &entry.requires) {
                let required = requirement.product.as_str();
                related.entry(product).or_default().insert(required);
                related.entry(required).or_default().insert(product);
            }
        }
        Self { catalogue, choices, related, left: CHOICES }
    }

    /// Versions of which all requirements of these products are met, if there are any.
    fn run(
        &mut self,
        binding: &BTreeSet<&str>,
    ) -> Result<Option<BTreeMap<String, Version>>, TooMany> {
        let Some(choices) = self.pruned(binding) else { return Ok(None) };
        let products: Vec<&str> = choices.keys().copied().collect();
        for cost in 0..=2 * products.len() {
            let mut chosen = BTreeMap::new();
            if self.choose((&choices, &products), cost, binding, &mut chosen)? {
                let found = chosen.into_iter().filter_map(|(product, version)| {
                    Some((product.to_owned(), Version::clone(version?)))
                });
                return Ok(Some(found.collect()));
            }
        }
        Ok(None)
    }

    /// Without what fits nothing that another product may have; `None` when nothing is left of one.
    fn pruned(&self, binding: &BTreeSet<&str>) -> Option<Choices<'a>> {
        let mut choices = self.choices.clone();
        loop {
            let count = choices.values().map(Vec::len).sum::<usize>();
            for product in self.choices.keys() {
                let mut own = choices.remove(product)?;
                let related = self.related.get(product);
                own.retain(|choice| {
                    related.into_iter().flatten().all(|other| {
                        choices.get(other).into_iter().flatten().any(|their| {
                            let pair = [(*product, choice.version), (*other, their.version)];
                            self.holds(product, binding, &pair.into())
                        })
                    })
                });
                if own.is_empty() {
                    return None;
                }
                choices.insert(product, own);
            }
            if choices.values().map(Vec::len).sum::<usize>() == count {
                return Some(choices);
            }
        }
    }

    fn choose<'p>(
        &mut self,
        (choices, products): (&Choices<'a>, &[&'p str]),
        cost: usize,
        binding: &BTreeSet<&str>,
        chosen: &mut BTreeMap<&'p str, Option<&'a Version>>,
    ) -> Result<bool, TooMany> {
        let Some((product, rest)) = products.split_first() else { return Ok(true) };
        for choice in choices.get(product).into_iter().flatten() {
            let Some(left) = cost.checked_sub(choice.cost) else { break };
            self.left = self.left.checked_sub(1).ok_or(TooMany)?;
            chosen.insert(product, choice.version);
            if self.holds(product, binding, chosen)
                && self.choose((choices, rest), left, binding, chosen)?
            {
                return Ok(true);
            }
            chosen.remove(product);
        }
        Ok(false)
    }

    /// Whether the requirements between a product and those that are chosen already are met.
    fn holds(
        &self,
        product: &str,
        binding: &BTreeSet<&str>,
        chosen: &BTreeMap<&str, Option<&Version>>,
    ) -> bool {
        let related = self.related.get(product).into_iter().flatten().copied();
        std::iter::once(product).chain(related).filter(|it| binding.contains(it)).all(|other| {
            let version = chosen.get(other).copied().flatten();
            let entry = version.and_then(|version| self.catalogue.entry(other, version));
            let requires = entry.into_iter().flat_map(|entry| &entry.requires);
            let mut concerned =
                requires.filter(|it| other == product || it.product.as_str() == product);
            concerned.all(|requirement| {
                let range = requirement.version.as_ref();
                match chosen.get(requirement.product.as_str()) {
                    Some(Some(version)) => range.is_none_or(|range| range.matches(version)),
                    Some(None) => false,
                    None => true,
                }
            })
        })
    }

    /// Products whose requirements contradict, none of which can be left out.
    fn conflict<'p>(
        &mut self,
        mut products: BTreeSet<&'p str>,
    ) -> Result<BTreeSet<&'p str>, TooMany> {
        for product in products.clone() {
            let mut fewer = products.clone();
            fewer.remove(product);
            if self.run(&fewer)?.is_none() {
                products = fewer;
            }
        }
        Ok(products)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn versions(pairs: &[(&str, &str)]) -> BTreeMap<String, Version> {
        pairs.iter().map(|(product, text)| ((*product).to_owned(), version(text))).collect()
    }

    /// Product, version, what it upgrades from, what it requires.
    type Line<'a> = (&'a str, &'a str, &'a str, &'a [(&'a str, &'a str)]);

    fn catalogue(lines: &[Line<'_>]) -> Catalogue {
        let mut all: BTreeMap<String, BTreeMap<Version, Entry>> = BTreeMap::new();
        for (product, number, from, requires) in lines {
            let requires = requires.iter().map(|(product, range)| Requirement {
                product: product.parse().unwrap(),
                version: Some(range.parse().unwrap()),
            });
            let upgrades_from = (!from.is_empty()).then(|| from.parse().unwrap());
            let entry = Entry { requires: requires.collect(), upgrades_from };
            all.entry((*product).to_owned()).or_default().insert(version(number), entry);
        }
        Catalogue(all)
    }

    #[rstest]
    #[case::at_once("1.0.0", "2.0.0", Some("1.0.0 2.0.0"))]
    #[case::by_the_fewest_and_of_these_the_highest(
        "1.0.0",
        "4.0.0",
        Some("1.0.0 2.1.0 3.0.0 4.0.0")
    )]
    #[case::there_is_no_way("0.9.0", "4.0.0", None)]
    #[case::not_back("2.0.0", "1.0.0", None)]
    fn an_upgrade_goes_by_what_supports_it(
        #[case] from: &str,
        #[case] to: &str,
        #[case] wanted: Option<&str>,
    ) {
        let catalogue = catalogue(&[
            ("db", "1.0.0", ">=1", &[]),
            ("db", "2.0.0", ">=1, <2", &[]),
            ("db", "2.1.0", ">=1, <2", &[]),
            ("db", "3.0.0", ">=2, <3", &[]),
            ("db", "4.0.0", ">=3, <4", &[]),
        ]);
        let path = catalogue.upgrade_path("db", &version(from), &version(to));
        let path = path.map(|it| it.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
        assert_eq!(path.as_deref(), wanted);
    }

    fn shop() -> Catalogue {
        catalogue(&[
            ("db", "1.0.0", "", &[]),
            ("db", "2.0.0", ">=1", &[]),
            ("db", "3.0.0", ">=2", &[]),
            ("web", "1.0.0", "", &[("db", "<2")]),
            ("web", "2.0.0", "", &[("db", ">=2")]),
            ("mail", "1.0.0", "", &[("db", "<3")]),
            ("old", "1.0.0", "", &[("db", "<2")]),
            ("cache", "1.0.0", "", &[]),
            ("fast", "1.0.0", "", &[("cache", ">=1")]),
        ])
    }

    #[rstest]
    #[case::as_it_is(&[("web", "2.0.0"), ("db", "2.0.0")], &[], &[("web", "2.0.0"), ("db", "2.0.0")])]
    #[case::one_changes(&[("web", "2.0.0"), ("db", "1.0.0"), ("mail", "1.0.0")], &[],
        &[("web", "2.0.0"), ("db", "2.0.0"), ("mail", "1.0.0")])]
    #[case::what_is_delivered_does_not_go_back(&[("web", "1.0.0"), ("db", "3.0.0")], &[("db", "2.0.0")],
        &[("web", "2.0.0"), ("db", "3.0.0")])]
    #[case::what_is_out_of_reach_is_not_offered(&[("web", "2.0.0"), ("db", "1.0.0")], &[("db", "1.0.0")],
        &[("web", "2.0.0"), ("db", "2.0.0")])]
    #[case::what_lacks_is_added(&[("fast", "1.0.0")], &[], &[("fast", "1.0.0"), ("cache", "1.0.0")])]
    #[case::what_is_delivered_is_there(&[("web", "1.0.0")], &[("db", "1.0.0")], &[("web", "1.0.0"), ("db", "1.0.0")])]
    fn versions_that_fit_are_found_next_to_what_is_asked(
        #[case] asked: &[(&str, &str)],
        #[case] delivered: &[(&str, &str)],
        #[case] wanted: &[(&str, &str)],
    ) {
        let found = shop().fit(&versions(asked), &versions(delivered));
        assert_eq!(found, Fit::Together(versions(wanted)));
    }

    #[rstest]
    #[case::two_that_contradict(
        &[("web", "1.0.0"), ("db", "1.0.0"), ("old", "1.0.0"), ("mail", "1.0.0")], &[("db", "2.0.0")],
        &["old 1.0.0 → db <2", "db ≥ 2.0.0"]
    )]
    #[case::what_no_solution_has_stays(&[("web", "1.0.0"), ("fast", "1.0.0")], &[("db", "3.0.0"), ("web", "1.0.0"), ("cache", "0.1.0")],
        &["fast 1.0.0 → cache >=1", "cache ≥ 0.1.0"]
    )]
    fn where_none_fit_the_facts_that_contradict_are_told_and_no_others(
        #[case] asked: &[(&str, &str)],
        #[case] delivered: &[(&str, &str)],
        #[case] wanted: &[&str],
    ) {
        let found = shop().fit(&versions(asked), &versions(delivered));
        assert_eq!(found, Fit::Never(wanted.iter().map(|it| (*it).to_owned()).collect()));
    }

    #[test]
    fn a_product_that_nobody_has_is_a_fact_too() {
        let catalogue = catalogue(&[("web", "1.0.0", "", &[("gone", ">=1")])]);
        let found = catalogue.fit(&versions(&[("web", "1.0.0")]), &BTreeMap::new());
        assert_eq!(found, Fit::Never(vec!["web 1.0.0 → gone >=1".to_owned()]));
    }

    fn any_catalogue() -> impl Strategy<Value = Catalogue> {
        let requirement = (0..4_usize, proptest::sample::select(vec!["<2", ">=2", ">=3", "*"]));
        let entry = (proptest::collection::vec(requirement, 0..2), any::<bool>());
        let versions = proptest::collection::vec(entry, 3);
        proptest::collection::vec(versions, 4).prop_map(|products| {
            let products = products.into_iter().enumerate().map(|(index, versions)| {
                let versions =
                    versions.into_iter().zip(1_u64..).map(|((requires, steps), major)| {
                        let requires = requires.into_iter().filter(|(other, _)| *other != index);
                        let requires = requires.map(|(other, range)| Requirement {
                            product: format!("p{other}").parse().unwrap(),
                            version: Some(range.parse().unwrap()),
                        });
                        let before = format!(">={}", major.saturating_sub(1)).parse().unwrap();
                        let upgrades_from = steps.then_some(before);
                        let entry = Entry { requires: requires.collect(), upgrades_from };
                        (Version::new(major, 0, 0), entry)
                    });
                (format!("p{index}"), versions.collect())
            });
            Catalogue(products.collect())
        })
    }

    proptest! {
        /// As trying everything says.
        #[test]
        fn what_fits_is_found_whenever_there_is_any_and_never_anything_else(
            catalogue in any_catalogue(),
            asked in proptest::collection::vec(1_u64..4, 4),
            delivered in proptest::collection::vec(0_u64..4, 4),
        ) {
            let all = |majors: &[u64]| -> BTreeMap<String, Version> {
                let there = majors.iter().enumerate().filter(|(_, major)| **major > 0);
                there.map(|(index, major)| (format!("p{index}"), Version::new(*major, 0, 0))).collect()
            };
            let (asked, delivered) = (all(&asked), all(&delivered));
            let fits = |chosen: &BTreeMap<String, Version>| {
                chosen.iter().all(|(product, version)| {
                    let entry = catalogue.entry(product, version).unwrap();
                    let is_within = delivered.get(product).is_none_or(|known| {
                        version == known || (version > known && entry.takes(known))
                    });
                    is_within && entry.requires.iter().all(|it| {
                        it.version.as_ref().unwrap().matches(&chosen[it.product.as_str()])
                    })
                })
            };
            let every = (0..81_u64).map(|number| {
                all(&[number % 3 + 1, number / 3 % 3 + 1, number / 9 % 3 + 1, number / 27 % 3 + 1])
            });
            let is_any = every.clone().any(|chosen| fits(&chosen));
            match catalogue.fit(&asked, &delivered) {
                Fit::Together(found) => prop_assert!(fits(&found), "{found:?}"),
                Fit::Never(facts) => prop_assert!(!is_any, "{facts:?}"),
                Fit::Unknown => prop_assert!(false),
            }
        }
    }
}
