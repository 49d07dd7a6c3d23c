//! What counts as gone, and what as there though nobody can read it.

use std::{fs, os::unix::fs::symlink};

use tempfile::TempDir;

use super::*;

fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n")
}

fn names(world: &World) -> Vec<String> {
    let mut names: Vec<_> = world.model.namespaces.iter().map(|(key, _)| key.name.clone()).collect();
    names.sort();
    names
}

/// A folder that is looked at when it is told to.
struct Watched(TempDir, Folder);

impl Watched {
    fn new() -> Self {
        let root = TempDir::new().unwrap();
        let folder = Folder::new(root.path().to_owned());
        Self(root, folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn look(&mut self) -> World {
        self.1.refresh(&Touched { all: true, ..Touched::default() }, &mut |_| {});
        self.1.world()
    }
}

/// A route and a file that says nothing that matters, so that nothing but what cannot be read closes it.
const ROUTE: &str =
    "apiVersion: ravelin.dev/v1alpha1\nkind: ApiRoute\nmetadata: {name: r, namespace: shop}\nspec: {rules: [{}]}\n";

fn is_closed(world: &World) -> bool {
    world.model.auth_policies.iter().any(|(key, _)| key.to_string() == "shop/unreadable")
}

type Change = (&'static str, fn(&Path));

fn clear(path: &Path) {
    if path.is_symlink() { fs::remove_file(path) } else { fs::remove_dir_all(path) }.unwrap();
}

/// What may come in place of `deep/policy.yaml`, and does not take away what it said.
fn replacements() -> Vec<Change> {
    vec![
        ("a link to nothing", |root| {
            fs::remove_file(root.join("deep/policy.yaml")).ok();
            symlink("nothing.yaml", root.join("deep/policy.yaml")).unwrap();
        }),
        ("a link to itself", |root| {
            fs::remove_file(root.join("deep/policy.yaml")).ok();
            symlink("policy.yaml", root.join("deep/policy.yaml")).unwrap();
        }),
        ("a link out of the folder", |root| {
            fs::remove_file(root.join("deep/policy.yaml")).ok();
            symlink("/dev/null", root.join("deep/policy.yaml")).unwrap();
        }),
        ("a folder", |root| {
            fs::remove_file(root.join("deep/policy.yaml")).ok();
            fs::create_dir(root.join("deep/policy.yaml")).unwrap();
        }),
        ("a socket", |root| {
            fs::remove_file(root.join("deep/policy.yaml")).ok();
            std::os::unix::net::UnixListener::bind(root.join("deep/policy.yaml")).unwrap();
        }),
        ("its folder is a link to nothing", |root| {
            fs::remove_dir_all(root.join("deep")).unwrap();
            symlink("nothing", root.join("deep")).unwrap();
        }),
        ("its folder is a link out of the folder", |root| {
            fs::remove_dir_all(root.join("deep")).unwrap();
            symlink("/", root.join("deep")).unwrap();
        }),
        ("its folder is a link to itself", |root| {
            fs::remove_dir_all(root.join("deep")).unwrap();
            symlink("deep", root.join("deep")).unwrap();
        }),
    ]
}

#[test]
fn what_cannot_be_read_in_a_files_place_keeps_what_the_file_said_and_is_named() {
    for (what, replace) in replacements() {
        let mut watched = Watched::new();
        fs::write(watched.path("route.yaml"), ROUTE).unwrap();
        fs::create_dir(watched.path("deep")).unwrap();
        fs::write(watched.path("deep/policy.yaml"), namespace("a")).unwrap();
        assert_eq!(names(&watched.look()), ["a"]);
        replace(watched.0.path());
        let world = watched.look();
        assert_eq!((names(&world), is_closed(&world)), (vec!["a".to_owned()], false), "{what}");
        assert_eq!(world.findings.len(), 1, "{what}: {:?}", world.findings);
        assert!(world.findings[0].file.contains("/deep"), "{what}: {:?}", world.findings);
        // When it can be read again, it says what it then says.
        let path = watched.path("deep");
        clear(&path);
        fs::create_dir(&path).unwrap();
        fs::write(watched.path("deep/policy.yaml"), namespace("b")).unwrap();
        let world = watched.look();
        assert_eq!((names(&world), world.findings.len()), (vec!["b".to_owned()], 0), "{what}");
    }
}

#[test]
fn what_cannot_be_read_from_the_start_closes_every_namespace_with_a_route_until_it_is_gone() {
    for (what, replace) in replacements() {
        let mut watched = Watched::new();
        fs::write(watched.path("route.yaml"), ROUTE).unwrap();
        fs::create_dir(watched.path("deep")).unwrap();
        replace(watched.0.path());
        let world = watched.look();
        // Only names that count: there is no folder, and nothing says that there ever was one.
        if ["its folder is a link to nothing", "its folder is a link to itself"].contains(&what) {
            assert!(!is_closed(&world) && world.findings.is_empty(), "{what}: {:?}", world.findings);
            continue;
        }
        assert!(is_closed(&world) && world.findings.len() == 1, "{what}: {:?}", world.findings);
        let path = watched.path("deep");
        clear(&path);
        assert!(!is_closed(&watched.look()), "{what}");
    }
}

#[test]
fn what_is_gone_from_a_folder_that_can_be_listed_is_deleted() {
    let deletions: [Change; 5] = [
        ("the file is removed", |root| fs::remove_file(root.join("deep/policy.yaml")).unwrap()),
        ("the file is emptied", |root| fs::write(root.join("deep/policy.yaml"), "# nothing\n").unwrap()),
        ("the file has another name", |root| {
            fs::rename(root.join("deep/policy.yaml"), root.join("deep/policy.yaml.off")).unwrap();
        }),
        ("the folder is removed", |root| fs::remove_dir_all(root.join("deep")).unwrap()),
        ("the folder is another, empty one", |root| {
            fs::rename(root.join("deep"), root.join(".old")).unwrap();
            fs::create_dir(root.join("deep")).unwrap();
        }),
    ];
    for (what, delete) in deletions {
        let mut watched = Watched::new();
        fs::write(watched.path("route.yaml"), ROUTE).unwrap();
        fs::create_dir(watched.path("deep")).unwrap();
        fs::write(watched.path("deep/policy.yaml"), namespace("a")).unwrap();
        assert_eq!(names(&watched.look()), ["a"]);
        delete(watched.0.path());
        let world = watched.look();
        assert!(names(&world).is_empty() && world.findings.is_empty() && !is_closed(&world), "{what}");
    }
}

#[test]
fn a_folder_of_too_many_files_loses_none_that_is_known_and_is_closed_for_those_that_are_not() {
    let mut watched = Watched::new();
    watched.1.max_files = 3;
    fs::write(watched.path("route.yaml"), ROUTE).unwrap();
    for name in ["s", "t"] {
        fs::write(watched.path(&format!("{name}.yaml")), namespace(name)).unwrap();
    }
    let world = watched.look();
    assert_eq!((names(&world).len(), is_closed(&world)), (2, false));
    // It comes first in order, so that `t` is not reached any longer.
    fs::write(watched.path("a.yaml"), namespace("a")).unwrap();
    symlink("nothing.yaml", watched.path("b.yaml")).unwrap();
    let world = watched.look();
    assert_eq!(names(&world), ["a", "s", "t"]);
    assert!(is_closed(&world));
    assert!(world.findings.iter().any(|finding| finding.finding.message.contains("more than 3 files")));
    fs::remove_file(watched.path("b.yaml")).unwrap();
    fs::remove_file(watched.path("s.yaml")).unwrap();
    let world = watched.look();
    assert_eq!((names(&world), is_closed(&world)), (vec!["a".to_owned(), "t".to_owned()], false));
}

#[test]
fn what_is_kept_by_file_systems_and_editors_is_passed_over() {
    let mut watched = Watched::new();
    fs::write(watched.path("route.yaml"), ROUTE).unwrap();
    for name in ["lost+found", ".#route.yaml", "..data", "notes", "route.yaml.bak", "latest.log"] {
        symlink("nothing", watched.path(name)).unwrap();
    }
    symlink("circle", watched.path("circle")).unwrap();
    symlink("route.yaml/none", watched.path("below-a-file")).unwrap();
    let world = watched.look();
    assert!(!is_closed(&world) && world.findings.is_empty(), "{:?}", world.findings);
}

/// Makes a pipe with a name, which nobody writes to.
fn pipe(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_pipe_or_socket_that_is_called_like_no_manifest_is_passed_over_and_holds_nothing_up() {
    let mut watched = Watched::new();
    fs::write(watched.path("route.yaml"), ROUTE).unwrap();
    pipe(&watched.path("f"));
    std::os::unix::net::UnixListener::bind(watched.path("s")).unwrap();
    symlink("f", watched.path("l")).unwrap();
    let world = watched.look();
    assert!(!is_closed(&world) && world.findings.is_empty(), "{:?}", world.findings);
}

#[test]
fn what_is_opened_and_is_no_file_is_not_read_whatever_it_was_when_it_was_listed() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("f.yaml");
    pipe(&path);
    for path in [path.as_path(), Path::new("/dev/zero"), folder.path()] {
        let failure = read_text(path).unwrap_err();
        assert!(failure.message.contains("no file"), "{path:?}: {}", failure.message);
    }
}

/// A folder that is followed, and whose clock stands still unless a test moves it.
fn watched_with_patience() -> Watched {
    let mut watched = Watched::new();
    fs::write(watched.path("a.yaml"), namespace("policy")).unwrap();
    assert_eq!(names(&watched.look()), ["policy"]);
    watched.1.settling.patience = PATIENCE;
    watched
}

const PATIENCE: Duration = Duration::from_secs(3600);

impl Watched {
    /// The time passes that what is looked at must rest so many times.
    fn pass(&mut self, times: u32) {
        let earlier = |time: &mut Instant| *time = time.checked_sub(PATIENCE * times).unwrap();
        self.1.settling.sights.values_mut().for_each(|sight| earlier(&mut sight.since));
        self.1.settling.missing.values_mut().for_each(earlier);
        self.1.settling.waits_since.iter_mut().for_each(earlier);
    }

    /// What is served after a look, of which was told what `tell` says.
    fn served(&mut self, tell: impl FnOnce(&mut Touched, PathBuf)) -> Vec<String> {
        let mut touched = Touched::default();
        tell(&mut touched, self.path("a.yaml"));
        self.1.refresh(&touched, &mut |_| {});
        names(&self.1.world())
    }
}

fn nothing(_: &mut Touched, _: PathBuf) {}

/// Somebody wrote to it and closed it.
fn saved(touched: &mut Touched, path: PathBuf) {
    touched.changed.insert(path.clone());
    touched.closed.insert(path);
}

/// It was opened, as it is for each look: what happened before that has been told.
fn opened(touched: &mut Touched, path: PathBuf) {
    touched.opened.insert(path);
}

#[test]
fn a_save_counts_soon_after_its_close_and_not_before_all_is_told_that_came_before_the_look() {
    let mut watched = watched_with_patience();
    fs::write(watched.path("a.yaml"), namespace("saved")).unwrap();
    assert_eq!(watched.served(saved), ["policy"]);
    watched.pass(2);
    assert_eq!(watched.served(nothing), ["policy"], "an event may be on its way");
    assert_eq!(watched.served(opened), ["saved"]);
    assert_eq!(watched.1.unsettled, None);
}

#[test]
fn what_is_seen_of_a_second_save_does_not_count_for_the_close_of_the_first() {
    for half in ["", &namespace("half")] {
        let mut watched = watched_with_patience();
        fs::write(watched.path("a.yaml"), namespace("saved")).unwrap();
        assert_eq!(watched.served(saved), ["policy"]);
        watched.pass(2);
        // Nothing has been told of the second save, and the file system's times may say nothing either.
        fs::write(watched.path("a.yaml"), half).unwrap();
        assert_eq!(watched.served(opened), ["policy"], "{half:?}");
        watched.pass(2);
        assert_eq!(watched.served(opened), ["policy"], "{half:?}");
        fs::write(watched.path("a.yaml"), namespace("second")).unwrap();
        assert_eq!(watched.served(saved), ["policy"], "{half:?}");
        watched.pass(2);
        assert_eq!(watched.served(opened), ["second"], "{half:?}");
    }
}

#[test]
fn a_file_that_nobody_is_known_to_have_changed_counts_when_it_has_rested_and_an_empty_one_much_later() {
    for (text, rests, served) in [(namespace("half"), 21, vec!["half"]), (String::new(), 201, vec![])] {
        let mut watched = watched_with_patience();
        fs::write(watched.path("a.yaml"), text).unwrap();
        assert_eq!(watched.served(nothing), ["policy"]);
        watched.pass(rests - 2);
        assert_eq!(watched.served(opened), ["policy"]);
        watched.pass(2);
        assert_eq!(watched.served(opened), served);
    }
}

#[test]
fn a_file_that_was_emptied_and_closed_says_nothing_after_a_rest() {
    let mut watched = watched_with_patience();
    fs::write(watched.path("a.yaml"), "").unwrap();
    assert_eq!(watched.served(saved), ["policy"]);
    watched.pass(19);
    assert_eq!(watched.served(opened), ["policy"]);
    watched.pass(2);
    assert!(watched.served(nothing).is_empty());
}

#[test]
fn a_file_that_is_open_for_writing_for_ever_keeps_what_it_said_and_is_named() {
    let mut watched = watched_with_patience();
    fs::write(watched.path("a.yaml"), namespace("half")).unwrap();
    let writing = |times| {
        let since = Instant::now().checked_sub(PATIENCE * times).unwrap();
        move |touched: &mut Touched, path: PathBuf| touched.being_written.extend([(path, since)])
    };
    assert_eq!(watched.served(writing(100)), ["policy"]);
    assert!(watched.1.world().findings.is_empty() && watched.1.unsettled.is_some());
    assert_eq!(watched.served(writing(201)), ["policy"]);
    let findings = watched.1.world().findings;
    assert!(findings.len() == 1 && findings[0].finding.message.contains("open for writing"), "{findings:?}");
    assert_eq!(watched.served(saved), ["policy"]);
    watched.pass(2);
    assert_eq!(watched.served(opened), ["half"]);
    assert!(watched.1.world().findings.is_empty());
}

#[test]
fn the_first_world_waits_for_a_second_look_and_closes_for_what_is_in_doubt_for_long() {
    let mut watched = Watched::new();
    watched.1.settling.patience = PATIENCE;
    fs::write(watched.path("route.yaml"), ROUTE).unwrap();
    fs::write(watched.path("a.yaml"), namespace("half")).unwrap();
    let all = Touched { all: true, ..Touched::default() };
    assert!(!watched.1.refresh(&all, &mut |_| {}));
    watched.pass(31);
    // It is being written all the time, and not told of.
    fs::write(watched.path("a.yaml"), namespace("another")).unwrap();
    assert!(watched.1.refresh(&Touched::default(), &mut |_| {}));
    assert!(is_closed(&watched.1.world()) && names(&watched.1.world()).is_empty());
    watched.pass(21);
    assert_eq!(watched.served(nothing), ["another"]);
    assert!(!is_closed(&watched.1.world()));
}

/// Changes that a look may fall into the middle of, none of which has said that anything is gone.
#[test]
fn a_file_that_is_empty_or_away_for_a_moment_keeps_what_it_said_and_nothing_else_counts_before() {
    let changes: [Change; 5] = [
        ("emptied, to be written in place", |root| drop(fs::File::create(root.join("a.yaml")).unwrap())),
        ("written by halves", |root| fs::write(root.join("a.yaml"), namespace("half")).unwrap()),
        ("away, to be made anew", |root| fs::remove_file(root.join("a.yaml")).unwrap()),
        ("made anew, and still empty", |root| {
            fs::remove_file(root.join("a.yaml")).unwrap();
            // So that the new file is not the old one by its number.
            fs::write(root.join("other.txt"), "").unwrap();
            fs::write(root.join("a.yaml"), "").unwrap();
        }),
        ("renamed", |root| fs::rename(root.join("a.yaml"), root.join("z.yaml")).unwrap()),
    ];
    for (what, change) in changes {
        let mut watched = watched_with_patience();
        change(watched.0.path());
        fs::rename(written(&watched, "route"), watched.path("b.yaml")).unwrap();
        let moved = Touched { moved: [watched.path("b.yaml")].into(), ..Touched::default() };
        assert!(!watched.1.refresh(&moved, &mut |_| {}), "{what}: nothing else counts before");
        assert_eq!(names(&watched.1.world()), ["policy"], "{what}");
        assert!(watched.1.unsettled.is_some(), "{what}: it is looked at again");
        fs::write(watched.path("a.yaml"), namespace("policy2")).unwrap();
        drop(fs::remove_file(watched.path("z.yaml")));
        watched.1.settling.patience = Duration::ZERO;
        assert!(watched.1.refresh(&Touched::default(), &mut |_| {}));
        assert_eq!(names(&watched.1.world()), ["policy2", "route"], "{what}");
        assert!(watched.1.unsettled.is_none(), "{what}");
    }
}

/// A file beside the folder's others that is passed over.
fn written(watched: &Watched, name: &str) -> PathBuf {
    let path = watched.path(".draft.yaml");
    fs::write(&path, namespace(name)).unwrap();
    path
}

#[test]
fn a_file_that_was_moved_here_counts_at_once_unless_it_was_emptied_since() {
    let mut watched = watched_with_patience();
    let path = watched.path("a.yaml");
    let moved = Touched { changed: [path.clone()].into(), moved: [path.clone()].into(), ..Touched::default() };
    fs::rename(written(&watched, "policy2"), &path).unwrap();
    assert!(watched.1.refresh(&moved, &mut |_| {}));
    assert_eq!(names(&watched.1.world()), ["policy2"]);
    fs::rename(written(&watched, "policy3"), &path).unwrap();
    drop(fs::File::create(&path).unwrap());
    assert!(!watched.1.refresh(&moved, &mut |_| {}));
    assert_eq!((names(&watched.1.world()), watched.1.unsettled.is_some()), (vec!["policy2".to_owned()], true));
}

#[test]
fn a_restless_folder_counts_after_a_while_but_for_the_files_that_are_in_hand_or_missing_since_this_moment() {
    let mut watched = watched_with_patience();
    fs::write(watched.path("gone.yaml"), namespace("gone")).unwrap();
    watched.1.settling.patience = Duration::ZERO;
    assert_eq!(names(&watched.look()), ["gone", "policy"]);
    watched.1.settling.patience = PATIENCE;
    fs::remove_file(watched.path("gone.yaml")).unwrap();
    fs::write(watched.path("a.yaml"), "").unwrap();
    fs::rename(written(&watched, "route"), watched.path("b.yaml")).unwrap();
    let moved = Touched { moved: [watched.path("b.yaml")].into(), ..Touched::default() };
    assert!(!watched.1.refresh(&moved, &mut |_| {}));
    let long_ago = Instant::now().checked_sub(Duration::from_secs(36_000)).unwrap();
    watched.1.settling.waits_since = Some(long_ago);
    assert!(watched.1.refresh(&Touched::default(), &mut |_| {}));
    assert_eq!(names(&watched.1.world()), ["gone", "policy", "route"]);
    assert!(watched.1.unsettled.is_some());
}

#[test]
fn a_file_that_is_in_hand_for_long_from_the_start_closes_every_namespace_with_a_route_until_it_is_read() {
    let mut watched = Watched::new();
    fs::write(watched.path("route.yaml"), ROUTE).unwrap();
    fs::write(watched.path("policy.yaml"), "").unwrap();
    let path = watched.path("policy.yaml");
    let touched = Touched { all: true, being_written: [(path, Instant::now())].into(), ..Touched::default() };
    assert!(watched.1.refresh(&touched, &mut |_| {}));
    assert!(is_closed(&watched.1.world()));
    fs::write(watched.path("policy.yaml"), namespace("a")).unwrap();
    assert!(watched.1.refresh(&Touched::default(), &mut |_| {}));
    let world = watched.1.world();
    assert_eq!((names(&world), is_closed(&world)), (vec!["a".to_owned()], false));
}
