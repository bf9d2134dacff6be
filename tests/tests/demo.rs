//! The demo plays through.

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_plays_through() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        tidegate::demo::Options { is_unattended: true, folder: Some(folder.path().to_owned()) };
    if let Err(error) = tidegate::demo::run(options).await {
        panic!("{error}: {:?}", std::error::Error::source(&error));
    }
}
