//! `make crds`: writes crds/yaml and the chart's copy, and removes what is no longer generated.

use std::path::Path;
use std::{fs, io};

use ravelin_crds::generate;

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (plain, chart) = (root.join("crds/yaml"), root.join("charts/ravelin/templates/crds"));
    for folder in [&plain, &chart] {
        fs::create_dir_all(folder)?;
        for old in fs::read_dir(folder)? {
            fs::remove_file(old?.path())?;
        }
    }
    for crd in generate::all() {
        let file = format!("{}.yaml", crd.spec.names.plural);
        fs::write(plain.join(&file), generate::yaml(&crd))?;
        fs::write(chart.join(&file), generate::chart_template(&crd))?;
    }
    Ok(())
}
