use std::{
    fs,
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
};

use tempfile::TempDir;
use tokio::sync::watch::Receiver;

use super::*;

const DEADLINE: Duration = Duration::from_secs(30);

fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n")
}

fn names(world: &World) -> Vec<String> {
    let mut names: Vec<_> = world.model.namespaces.iter().map(|(key, _)| key.name.clone()).collect();
    names.sort();
    names
}

fn start(root: &Path) -> Receiver<Option<Arc<World>>> {
    let (sender, receiver) = watch::channel(None);
    let root = root.to_owned();
    tokio::spawn(async move { follow(root, sender).await.unwrap() });
    receiver
}

/// The first world, the present one included, that is as wanted. All before it must be as allowed.
async fn until(
    worlds: &mut Receiver<Option<Arc<World>>>,
    wanted: impl Fn(&World) -> bool,
    allowed: impl Fn(&World) -> bool,
) -> Arc<World> {
    let search = async {
        loop {
            if let Some(world) = worlds.borrow_and_update().clone() {
                if wanted(&world) {
                    return world;
                }
                assert!(allowed(&world), "{:?} {:?}", names(&world), world.findings);
            }
            worlds.changed().await.unwrap();
        }
    };
    timeout(DEADLINE, search).await.unwrap()
}

async fn until_named(worlds: &mut Receiver<Option<Arc<World>>>, wanted: &[&str]) -> Arc<World> {
    until(worlds, |world| names(world) == wanted, |_| true).await
}

#[tokio::test]
async fn files_come_change_and_go() {
    let folder = TempDir::new().unwrap();
    let mut worlds = start(folder.path());
    until_named(&mut worlds, &[]).await;
    fs::write(folder.path().join("a.yaml"), namespace("a")).unwrap();
    until_named(&mut worlds, &["a"]).await;
    fs::create_dir_all(folder.path().join("deep/er")).unwrap();
    fs::write(
        folder.path().join("deep/er/b.json"),
        r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"b"}}"#,
    )
    .unwrap();
    until_named(&mut worlds, &["a", "b"]).await;
    fs::write(
        folder.path().join("deep/er/b.json"),
        r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"c"}}"#,
    )
    .unwrap();
    until_named(&mut worlds, &["a", "c"]).await;
    fs::write(folder.path().join("notes.txt"), "no manifest").unwrap();
    fs::write(folder.path().join(".draft.yaml"), namespace("draft")).unwrap();
    fs::remove_file(folder.path().join("a.yaml")).unwrap();
    until_named(&mut worlds, &["c"]).await;
    fs::remove_dir_all(folder.path().join("deep")).unwrap();
    until_named(&mut worlds, &[]).await;
}

#[tokio::test]
async fn a_file_that_is_replaced_by_a_rename_is_never_away() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.yaml");
    fs::write(&path, namespace("n0")).unwrap();
    let mut worlds = start(folder.path());
    for round in 1..20 {
        let draft = folder.path().join(".a.yaml.draft");
        fs::write(&draft, namespace(&format!("n{round}"))).unwrap();
        fs::rename(&draft, &path).unwrap();
        let wanted = [format!("n{round}")];
        until(&mut worlds, |world| names(world) == wanted, |world| names(world).len() == 1).await;
    }
}

#[tokio::test]
async fn a_mounted_config_map_changes_as_one() {
    let folder = TempDir::new().unwrap();
    let write = |version: &str, name: &str| {
        let dir = folder.path().join(version);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("a.yaml"), namespace(&format!("{name}-a"))).unwrap();
        fs::write(dir.join("b.yaml"), namespace(&format!("{name}-b"))).unwrap();
        symlink(version, folder.path().join("..data_tmp")).unwrap();
        fs::rename(folder.path().join("..data_tmp"), folder.path().join("..data")).unwrap();
    };
    write("..1", "one");
    for file in ["a.yaml", "b.yaml"] {
        symlink(format!("..data/{file}"), folder.path().join(file)).unwrap();
    }
    let mut worlds = start(folder.path());
    until_named(&mut worlds, &["one-a", "one-b"]).await;
    write("..2", "two");
    let one = ["one-a", "one-b"];
    until(&mut worlds, |world| names(world) == ["two-a", "two-b"], |world| names(world) == one).await;
}

#[tokio::test]
async fn a_file_is_not_read_while_it_is_being_written() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.yaml");
    fs::write(&path, format!("{}---\n{}", namespace("a"), namespace("b"))).unwrap();
    let mut worlds = start(folder.path());
    until_named(&mut worlds, &["a", "b"]).await;
    // Emptied, then written by halves; each of them a good file.
    let mut file = fs::File::create(&path).unwrap();
    let other = folder.path().join("other.yaml");
    let whole = |world: &World| ["a", "b"].iter().all(|name| names(world).contains(&(*name).to_owned()));
    fs::write(&other, namespace("x")).unwrap();
    until(&mut worlds, |world| names(world).contains(&"x".to_owned()), whole).await;
    assert!(whole(&worlds.borrow().clone().unwrap()));
    file.write_all(namespace("c").as_bytes()).unwrap();
    fs::write(&other, namespace("z")).unwrap();
    until(&mut worlds, |world| names(world).contains(&"z".to_owned()), whole).await;
    assert!(whole(&worlds.borrow().clone().unwrap()));
    file.write_all(format!("---\n{}", namespace("d")).as_bytes()).unwrap();
    drop(file);
    until(&mut worlds, |world| names(world) == ["c", "d", "z"], whole).await;
}

#[tokio::test]
async fn saves_in_place_one_after_the_other_never_take_away_what_a_file_says() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.yaml");
    fs::write(&path, namespace("a")).unwrap();
    let mut worlds = start(folder.path());
    until_named(&mut worlds, &["a"]).await;
    let (done, end) = tokio::sync::oneshot::channel();
    let writer = path.clone();
    tokio::task::spawn_blocking(move || {
        for round in 0..3_000 {
            fs::write(&writer, format!("{}# {round}\n", namespace("a"))).unwrap();
        }
        fs::write(&writer, format!("{}---\n{}", namespace("a"), namespace("last"))).unwrap();
        done.send(()).unwrap();
    });
    until(&mut worlds, |world| names(world) == ["a", "last"], |world| names(world) == ["a"]).await;
    end.await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_moved_while_it_is_written_is_not_read_before_it_is_closed() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.yaml");
    fs::write(&path, namespace("a")).unwrap();
    let mut worlds = start(folder.path());
    until_named(&mut worlds, &["a"]).await;
    let draft = folder.path().join("draft.tmp");
    let mut file = fs::File::create(&draft).unwrap();
    file.write_all(namespace("b").as_bytes()).unwrap();
    fs::rename(&draft, &path).unwrap();
    fs::write(folder.path().join("x.yaml"), namespace("x")).unwrap();
    until(&mut worlds, |world| names(world) == ["a", "x"], |world| names(world) == ["a"]).await;
    file.write_all(format!("---\n{}", namespace("c")).as_bytes()).unwrap();
    drop(file);
    until(&mut worlds, |world| names(world) == ["b", "c", "x"], |world| names(world) == ["a", "x"]).await;
}

#[tokio::test]
async fn a_folder_that_is_made_and_filled_is_read_file_by_whole_file() {
    let folder = TempDir::new().unwrap();
    let mut worlds = start(folder.path());
    until_named(&mut worlds, &[]).await;
    for round in 0..10 {
        let inside = folder.path().join(format!("f{round}"));
        fs::create_dir(&inside).unwrap();
        let mut file = fs::File::create(inside.join("a.yaml")).unwrap();
        file.write_all(namespace("a").as_bytes()).unwrap();
        file.write_all(format!("---\n{}", namespace("b")).as_bytes()).unwrap();
        drop(file);
        let whole = |world: &World| names(world) == ["a", "b"];
        until(&mut worlds, whole, |world| names(world).is_empty()).await;
        fs::remove_dir_all(&inside).unwrap();
        until(&mut worlds, |world| names(world).is_empty(), whole).await;
    }
}

#[tokio::test]
async fn a_folder_that_is_away_changes_nothing_until_it_is_back() {
    let parent = TempDir::new().unwrap();
    let root = parent.path().join("live");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a.yaml"), namespace("a")).unwrap();
    let mut worlds = start(&root);
    until_named(&mut worlds, &["a"]).await;
    fs::rename(&root, parent.path().join("old")).unwrap();
    let away = until(&mut worlds, |world| !world.findings.is_empty(), |_| true).await;
    assert_eq!(names(&away), ["a"]);
    assert!(away.findings[0].finding.message.contains("the folder is away"));
    fs::create_dir(parent.path().join("new")).unwrap();
    fs::write(parent.path().join("new/a.yaml"), namespace("b")).unwrap();
    fs::rename(parent.path().join("new"), &root).unwrap();
    let back = until(&mut worlds, |world| names(world) == ["b"], |world| names(world) == ["a"]).await;
    assert!(back.findings.is_empty());
    fs::write(root.join("a.yaml"), namespace("c")).unwrap();
    until_named(&mut worlds, &["c"]).await;
}

#[tokio::test]
async fn a_folder_that_is_a_link_follows_the_link() {
    let parent = TempDir::new().unwrap();
    for release in ["one", "two"] {
        fs::create_dir(parent.path().join(release)).unwrap();
        fs::write(parent.path().join(release).join("a.yaml"), namespace(release)).unwrap();
    }
    let root = parent.path().join("live");
    symlink("one", &root).unwrap();
    let mut worlds = start(&root);
    until_named(&mut worlds, &["one"]).await;
    symlink("two", parent.path().join("next")).unwrap();
    fs::rename(parent.path().join("next"), &root).unwrap();
    until(&mut worlds, |world| names(world) == ["two"], |world| names(world) == ["one"]).await;
    fs::write(root.join("b.yaml"), namespace("three")).unwrap();
    until_named(&mut worlds, &["three", "two"]).await;
}

#[tokio::test]
async fn a_broken_edit_changes_nothing_and_says_so_until_it_is_mended() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.yaml");
    fs::write(&path, namespace("a")).unwrap();
    let mut worlds = start(folder.path());
    until_named(&mut worlds, &["a"]).await;
    for broken in ["kind: [", "apiVersion: v1\nkind: Namespace\nmetadata: {name: b, labels: {x: 1}}\n"] {
        fs::write(&path, broken).unwrap();
        let world = until(&mut worlds, |world| world.findings.len() == 1, |_| true).await;
        assert_eq!(names(&world), ["a"]);
        fs::write(&path, namespace("a")).unwrap();
        until(&mut worlds, |world| world.findings.is_empty(), |_| true).await;
    }
    fs::write(&path, [0xff, 0xfe, b'\n']).unwrap();
    let world = until(&mut worlds, |world| world.findings.len() == 1, |_| true).await;
    assert_eq!(
        (names(&world), world.findings[0].finding.message.as_str()),
        (vec!["a".to_owned()], "it is not UTF-8, in line 1")
    );
    fs::write(&path, namespace("b")).unwrap();
    assert!(until_named(&mut worlds, &["b"]).await.findings.is_empty());
}

#[test]
fn a_file_that_is_broken_from_the_start_is_served_as_far_as_it_is_sound() {
    let root = TempDir::new().unwrap();
    let path = root.path().join("a.yaml");
    let all = Touched { all: true, ..Touched::default() };
    fs::write(&path, format!("{}---\nkind: [\n---\n{}", namespace("a"), namespace("b"))).unwrap();
    let mut folder = Folder::new(root.path().to_owned());
    assert!(folder.refresh(&all, &mut |_| {}));
    assert_eq!(names(&folder.world()), ["a", "b"]);
    fs::write(&path, format!("{}---\nkind: [\n", namespace("c"))).unwrap();
    folder.refresh(&all, &mut |_| {});
    assert_eq!(names(&folder.world()), ["c"], "it never was whole, so there is nothing better to keep");
}

#[test]
fn the_second_of_two_files_with_one_object_is_an_error_that_names_both() {
    let root = TempDir::new().unwrap();
    let all = Touched { all: true, ..Touched::default() };
    let write = |file: &str, label: &str| {
        let text = format!("\napiVersion: v1\nkind: Namespace\nmetadata: {{name: a, labels: {{from: {label}}}}}\n");
        fs::write(root.path().join(file), text).unwrap();
    };
    write("b.yaml", "b");
    let mut folder = Folder::new(root.path().to_owned());
    folder.refresh(&all, &mut |_| {});
    write("a.yaml", "a");
    folder.refresh(&all, &mut |_| {});
    let from = |world: &World| world.model.namespaces.iter().next().unwrap().1.meta.labels["from"].clone();
    let world = folder.world();
    assert_eq!((from(&world).as_str(), world.findings.len()), ("a", 1), "the first in order, whichever came first");
    assert!(world.findings[0].file.ends_with("b.yaml"));
    assert!(world.findings[0].finding.message.contains("a.yaml, line 2"), "{:?}", world.findings);
    fs::remove_file(root.path().join("a.yaml")).unwrap();
    folder.refresh(&all, &mut |_| {});
    assert_eq!((from(&folder.world()).as_str(), folder.world().findings.len()), ("b", 0));
}

#[test]
fn links_that_lead_out_or_round_in_circles_do_no_harm() {
    let outside = TempDir::new().unwrap();
    fs::write(outside.path().join("x.yaml"), namespace("x")).unwrap();
    let root = TempDir::new().unwrap();
    fs::write(root.path().join("a.yaml"), namespace("a")).unwrap();
    symlink(".", root.path().join("circle")).unwrap();
    symlink("a.yaml", root.path().join("twice.yaml")).unwrap();
    symlink("nothing.yaml", root.path().join("dangling.yaml")).unwrap();
    symlink(outside.path(), root.path().join("out")).unwrap();
    let mut folder = Folder::new(root.path().to_owned());
    folder.refresh(&Touched { all: true, ..Touched::default() }, &mut |_| {});
    let world = folder.world();
    assert_eq!(names(&world), ["a"]);
    let messages: Vec<_> = world.findings.iter().map(|finding| finding.finding.message.as_str()).collect();
    assert!(
        matches!(messages[..], [nothing, "the link points out of the folder"] if nothing.contains("leads to nothing"))
    );
}

#[test]
fn a_file_that_may_not_be_read_keeps_what_it_last_said() {
    let root = TempDir::new().unwrap();
    let path = root.path().join("a.yaml");
    fs::write(&path, namespace("a")).unwrap();
    let mut folder = Folder::new(root.path().to_owned());
    let all = Touched { all: true, ..Touched::default() };
    folder.refresh(&all, &mut |_| {});
    fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
    if fs::File::open(&path).is_ok() {
        // The superuser may read everything: a file that is too large is as unreadable.
        fs::write(&path, vec![b' '; (8 << 20) + 1]).unwrap();
    }
    folder.refresh(&all, &mut |_| {});
    let world = folder.world();
    assert_eq!((names(&world), world.findings.len()), (vec!["a".to_owned()], 1));
}

#[test]
fn a_file_that_was_never_read_closes_every_namespace_with_a_route_until_it_is() {
    let root = TempDir::new().unwrap();
    let route =
        "apiVersion: ravelin.dev/v1alpha1\nkind: ApiRoute\nmetadata: {name: r, namespace: shop}\nspec: {rules: [{}]}\n";
    fs::write(root.path().join("route.yaml"), route).unwrap();
    let policy = root.path().join("policy.yaml");
    fs::write(&policy, b"kind: AuthPolicy \xff").unwrap();
    let mut folder = Folder::new(root.path().to_owned());
    let all = Touched { all: true, ..Touched::default() };
    folder.refresh(&all, &mut |_| {});
    let closed = |folder: &Folder| {
        let policies: Vec<_> = folder.world().model.auth_policies.iter().map(|(key, _)| key.to_string()).collect();
        policies
    };
    assert_eq!(closed(&folder), ["shop/unreadable"]);
    fs::write(&policy, namespace("a")).unwrap();
    folder.refresh(&all, &mut |_| {});
    assert!(closed(&folder).is_empty());
    // What a file said stays when it can be read no longer, and closes nothing.
    fs::write(&policy, b"\xff").unwrap();
    folder.refresh(&all, &mut |_| {});
    assert_eq!((closed(&folder), names(&folder.world())), (Vec::new(), vec!["a".to_owned()]));
}

/// Names, and which file says what they are.
fn origins(world: &World) -> Vec<(String, String)> {
    let namespaces = world.model.namespaces.iter();
    let mut all: Vec<_> =
        namespaces.map(|(key, object)| (key.name.clone(), object.meta.labels["from"].clone())).collect();
    all.sort();
    all
}

proptest::proptest! {
    /// Whatever a folder went through: if it is sound, it amounts to what a fresh look at it gives.
    #[test]
    fn the_way_to_a_folder_does_not_matter(edits in proptest::collection::vec((0_u8..4, 0_u8..5, 0_u8..5), 1..30)) {
        let root = TempDir::new().unwrap();
        let all = Touched { all: true, ..Touched::default() };
        let mut folder = Folder::new(root.path().to_owned());
        for (step, (file, first, second)) in edits.into_iter().enumerate() {
            let path = root.path().join(format!("{file}.yaml"));
            let object = |name: String| {
                format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{from: f{file}-{}}}}}\n", step % 3)
            };
            match (first, second) {
                (0, _) => drop(fs::remove_file(&path)),
                (1, _) => fs::write(&path, "kind: [").unwrap(),
                _ => fs::write(&path, object(format!("n{first}")) + &object(format!("m{second}"))).unwrap(),
            }
            folder.refresh(&all, &mut |_| {});
        }
        for file in 0..4 {
            let path = root.path().join(format!("{file}.yaml"));
            if fs::read_to_string(&path).is_ok_and(|text| text == "kind: [") {
                fs::remove_file(path).unwrap();
            }
        }
        folder.refresh(&all, &mut |_| {});
        let mut fresh = Folder::new(root.path().to_owned());
        fresh.refresh(&all, &mut |_| {});
        proptest::prop_assert_eq!(origins(&folder.world()), origins(&fresh.world()));
        proptest::prop_assert_eq!(folder.world().findings, fresh.world().findings);
    }
}
