//! A rehearsal as a comment on a merge request.

use std::fmt::Write as _;

use tidegate_core::rehearsal::Rehearsal;
use tidegate_schema::finding::Lang;

use super::text::{
    confirmations, copies, course, failures, made_and_changed, origin, rows, running, summary,
    supposed, taken, then, told,
};
use crate::cli::printer::Printer;

/// Columns of what is drawn: wider lines would be folded.
const WIDTH: usize = 96;

/// The page, of at most `limit` bytes. What does not fit is left out and said: pods over time first.
pub(super) fn page(found: &Rehearsal, printer: &Printer, limit: usize) -> String {
    let printer = printer.with_width(WIDTH);
    let whole = written(found, &printer, true);
    if whole.len() <= limit {
        return whole;
    }
    let mut short = written(found, &printer, false);
    let left_out = printer.say(
        "\n_Pods over time are left out here; the command prints them._\n",
        "\n_此处省略了各时刻的 Pod 数量；请用命令查看。_\n",
    );
    if short.len() + left_out.len() > limit {
        let mut end = limit.saturating_sub(left_out.len());
        while !short.is_char_boundary(end) {
            end -= 1;
        }
        short.truncate(end);
    }
    short + left_out
}

fn written(found: &Rehearsal, printer: &Printer, has_pods: bool) -> String {
    let mut page = Page { text: String::new() };
    let plan = found.plan.short();
    page.line(&match printer.lang {
        Lang::En => format!("### Rehearsal of plan `{plan}`\n"),
        Lang::Zh => format!("### 计划 `{plan}` 的演练\n"),
    });
    page.line(&format!("**{}**\n", escaped(&summary(found, printer))));
    let at = found.at.strftime("%F %T UTC");
    page.line(&match printer.lang {
        Lang::En => format!("On {}, {at}.\n", origin(found, printer)),
        Lang::Zh => format!("演练环境：{}，{at}。\n", origin(found, printer)),
    });
    page.table(&["", "", ""], &copies(found, printer));
    page.head(printer.say("Asks for", "需要"));
    for finding in &found.approvals {
        page.line(&format!("- {}", escaped(&finding.message(printer.lang))));
    }
    for line in confirmations(found, printer) {
        page.line(&format!("- {}", escaped(&line)));
    }
    page.head(printer.say("Course", "过程"));
    page.drawn(&course(&found.run, printer));
    if !found.run.failures.is_empty() {
        page.drawn(&failures(&found.run, printer));
    }
    if has_pods {
        let (made, changed) = made_and_changed(&found.run, printer);
        page.table(&["", ""], &made);
        for (place, counts) in changed {
            page.fold(place, &rows(counts, printer));
        }
    }
    if let Some(failing) = &found.failing {
        page.head(printer.say("If the first group fails", "如果第一组失败"));
        page.line(&format!("{}\n", escaped(&supposed(failing, printer))));
        page.drawn(&told(failing, printer));
        page.line(&format!("{}\n", escaped(&then(failing, printer))));
        page.drawn(&running(failing, printer));
    }
    if let Some(differs) = &found.differs {
        page.head(printer.say("Another plan than was asked for", "与所请求的计划不同"));
        page.drawn(&differs.text.lines().map(str::to_owned).collect::<Vec<_>>());
    }
    page.head(printer.say("How long pods were taken to need", "假定的启动耗时"));
    page.table(&["", "", ""], &taken(found, printer));
    page.head(printer.say("What it does not know", "演练无法知道的"));
    for finding in &found.limits {
        page.line(&format!("- {}", escaped(&finding.message(printer.lang))));
    }
    page.text
}

/// Names come from documents: nothing in them may become markup.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('<', "&lt;")
        .replace('|', "\\|")
        .replace('*', "\\*")
        .replace('_', "\\_")
        .replace('@', "&#64;")
}

struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, line: &str) {
        // Writing to a text cannot fail.
        let _ok = writeln!(self.text, "{line}");
    }

    fn head(&mut self, title: &str) {
        self.line(&format!("\n#### {title}\n"));
    }

    fn table(&mut self, heads: &[&str], rows: &[Vec<String>]) {
        if rows.is_empty() {
            return;
        }
        self.line(&format!("| {} |", heads.join(" | ")));
        self.line(&format!("|{}", " --- |".repeat(heads.len())));
        for row in rows {
            let cells: Vec<String> = row.iter().map(|cell| escaped(cell)).collect();
            self.line(&format!("| {} |", cells.join(" | ")));
        }
    }

    /// What is drawn with characters of one width.
    fn drawn(&mut self, lines: &[String]) {
        self.line("```text");
        for line in lines {
            let plain = anstream::adapter::strip_str(line).to_string().replace("```", "'''");
            self.line(plain.trim_end());
        }
        self.line("```\n");
    }

    /// A table that is closed at first.
    fn fold(&mut self, title: &str, rows: &[Vec<String>]) {
        let Some((heads, rows)) = rows.split_first() else { return };
        self.line(&format!("<details><summary>{}</summary>\n", escaped(title)));
        let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
        self.table(&heads, rows);
        self.line("\n</details>\n");
    }
}
