//! The documents of a rehearsal: from the copy that an agent keeps, from a folder, or from the repository around it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use futures::future::BoxFuture;
use tidegate_core::snapshot::Snapshot;
use tidegate_schema::document::Body;
use tidegate_schema::yaml;

use crate::cause::chain;
use crate::earlier;
use crate::journal::{Journal, ReleaseRow};
use crate::source::{self, Source};

/// Where commits may be: the copies that the agent, or `apply`, keeps in a data folder, and the repository around a folder.
pub fn lenders(data: Option<&Path>, folder: Option<&Path>) -> Vec<PathBuf> {
    let kept = |data: &Path| ["mirror.git", "applied.git", "applied"].map(|name| data.join(name));
    let mut lenders: Vec<PathBuf> = folder.into_iter().map(Path::to_owned).collect();
    lenders.extend(data.into_iter().flat_map(kept).filter(|path| path.exists()));
    lenders
}

/// The files of a site at a commit, in the folder in which the site of this name has its `Site` document.
///
/// # Errors
///
/// When no lender has the commit, or no folder of it is the site's.
pub async fn at_commit(
    lenders: &[PathBuf],
    site: &str,
    commit: &str,
) -> Result<Snapshot, source::Error> {
    let mut refused = source::Error::Commit { commit: commit.to_owned() };
    for lender in lenders {
        let whole = match Source::local(lender.clone(), "", commit).await {
            Ok(whole) => whole,
            Err(error) => {
                refused = error;
                continue;
            }
        };
        let Some(folder) = folder_of(&whole, site) else {
            let (folder, commit) = (site.to_owned(), commit.to_owned());
            return Err(source::Error::Folder { folder, commit });
        };
        return Source::local(lender.clone(), folder, commit).await;
    }
    Err(refused)
}

/// The folder that holds the `Site` document of a site.
fn folder_of(whole: &Snapshot, site: &str) -> Option<String> {
    let is_site = |(path, content): &(&String, &Vec<u8>)| {
        let is_yaml =
            Path::new(path.as_str()).extension().is_some_and(|it| it == "yaml" || it == "yml");
        let text = std::str::from_utf8(content).unwrap_or_default();
        is_yaml && text.contains("Site") && {
            let (documents, _) = yaml::parse(path, text);
            documents
                .iter()
                .any(|it| matches!(it.body, Body::Site(_)) && it.name().as_str() == site)
        }
    };
    let (path, _) = whole.files.iter().find(is_site)?;
    Some(path.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned()))
}

/// Releases that operations go back to, by a copy of a journal.
#[derive(Debug)]
pub struct Past<'a> {
    /// The journal.
    pub journal: Option<&'a Journal>,
    /// Where commits may be.
    pub lenders: &'a [PathBuf],
    /// The site's folder.
    pub folder: &'a str,
}

impl Past<'_> {
    /// The snapshot with all that its operations go back to.
    pub async fn complete(&self, snapshot: Snapshot) -> Snapshot {
        earlier::complete(snapshot, self, None).await
    }
}

impl earlier::Releases for Past<'_> {
    fn row(&self, id: &str) -> BoxFuture<'_, Result<Option<ReleaseRow>, String>> {
        let id = id.to_owned();
        Box::pin(async move {
            match self.journal {
                Some(journal) => journal.release(&id).await.map_err(|error| chain(&error)),
                None => Ok(None),
            }
        })
    }

    fn files(&self, commit: &str) -> BoxFuture<'_, Result<Snapshot, String>> {
        let commit = commit.to_owned();
        Box::pin(async move {
            let mut refused = String::new();
            for lender in self.lenders {
                match Source::local(lender.clone(), self.folder, commit.clone()).await {
                    Ok(snapshot) => return Ok(snapshot),
                    Err(error) if refused.is_empty() => refused = chain(&error),
                    Err(_) => {}
                }
            }
            Err(refused)
        })
    }
}

/// The namespaces in which a site has or wants objects, and the custom kinds of these, in a cluster.
pub fn of_cluster<'a>(
    cluster: &str,
    objects: impl Iterator<Item = (&'a tidegate_core::object::ObjectRef, &'a str)>,
) -> (BTreeSet<String>, BTreeSet<(String, String)>) {
    let (mut namespaces, mut kinds) = (BTreeSet::new(), BTreeSet::new());
    for (reference, version) in objects.filter(|(reference, _)| reference.cluster == cluster) {
        let is_namespace = reference.kind == "Namespace" && reference.group.is_empty();
        let namespace = if is_namespace { &reference.name } else { &reference.namespace };
        if !namespace.is_empty() {
            namespaces.insert(namespace.clone());
        }
        kinds.insert((version.to_owned(), reference.kind.clone()));
    }
    (namespaces, kinds)
}
