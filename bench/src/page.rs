//! A page of the book, made from the figures of a run.

use crate::report::{Report, Row};

/// Markdown: what ran where, all rows, and a plot of those that have figures.
pub(crate) fn render(report: &Report) -> String {
    let machine = &report.machine;
    let mut page = format!(
        "# Results\n\nMade from `bench/results/latest.json`, which `make bench` writes; `make bench-page` writes this page from it. \
         What is measured, and how, is on the page before.\n\n\
         {}, {} processors, {} GiB, Linux {}.\n",
        machine.processor, machine.processors, machine.memory_gib, machine.kernel
    );
    let versions: Vec<&str> = report.versions.iter().map(|(_, version)| version.as_str()).collect();
    page += &format!("{}.\n\n", versions.join(", "));
    page += "| what | Ravelin | peers, same run | target |\n|---|---|---|---|\n";
    for row in &report.rows {
        page += &format!("| {} | {} | {} | {} |\n", row.what, row.ours, row.peers, row.target);
    }
    page += "\n## CPU a request, beside the peers\n\n";
    page += &plot(report.rows.iter().filter(|row| !row.figures.is_empty()).collect());
    page
}

const LABEL: usize = 330;
const WIDTH: usize = 380;
const BAR: usize = 11;

/// Bars as SVG. Each row has its own measure, for an answer of 1 MiB costs a hundred times one of nothing: Ravelin's bar and the peers'
/// are to be compared, not those of two rows.
fn plot(rows: Vec<&Row>) -> String {
    let mut bars = String::new();
    let mut y = 0;
    for row in rows {
        let most = row.figures.iter().map(|figure| figure.value).fold(0.0, f64::max);
        let name = row.what.trim_start_matches("CPU a request, ");
        bars += &format!("<text x=\"0\" y=\"{}\">{name}</text>\n", y + BAR - 2);
        for figure in &row.figures {
            // Pixels.
            let width = (figure.value / most * WIDTH as f64).round() as usize;
            let colour = match figure.of.as_str() {
                "Ravelin" => "#c2410c",
                "floor" => "#d4d4d4",
                _ => "#737373",
            };
            let text = format!("{} {:.1}", figure.of, figure.value);
            bars += &format!(
                "<rect x=\"{LABEL}\" y=\"{y}\" width=\"{width}\" height=\"{}\" fill=\"{colour}\"/><text x=\"{}\" y=\"{}\">{text}</text>\n",
                BAR - 1,
                LABEL + width + 4,
                y + BAR - 2
            );
            y += BAR;
        }
        y += BAR;
    }
    format!(
        "<svg viewBox=\"0 0 {} {y}\" font-size=\"10\" fill=\"currentColor\" role=\"img\" aria-label=\"CPU a request, beside the peers\">\n{bars}</svg>\n",
        LABEL + WIDTH + 110
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_books_page_is_what_the_kept_results_say() {
        let results = serde_json::from_str(include_str!("../results/latest.json")).unwrap();
        let page = include_str!("../../docs/src/results.md");
        assert_eq!(page, render(&results), "make bench-page writes it");
    }
}
