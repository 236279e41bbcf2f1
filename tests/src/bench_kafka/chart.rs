//! The ratios as a picture: a bar for each, beside the full width that is Apache Kafka.

use std::fmt::Write;

use super::report::{Measure, Report, Row};

const WIDTH: usize = 760;
const LEFT: usize = 330;
const RIGHT: usize = 70;
const LINE: usize = 26;
const TOP: usize = 64;

/// An SVG that reads on a light and on a dark page.
pub(super) fn draw(report: &Report) -> String {
    let rows: Vec<_> = report.rows.iter().filter(|row| is_shown(row)).collect();
    let height = TOP + LINE * rows.len() + 16;
    let full = WIDTH - LEFT - RIGHT;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"system-ui, sans-serif\" \
         font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"26\" font-size=\"15\" font-weight=\"600\" fill=\"#1c2733\">What Lockgate takes of a machine, \
         where Apache Kafka takes 1</text>\n\
         <text x=\"16\" y=\"46\" fill=\"#5b6b7b\">Shorter is better. One node each, the same clients, one run.</text>\n"
    );
    for (place, row) in rows.iter().enumerate() {
        let y = TOP + LINE * place;
        let bar = (row.ratio().min(1.0) * full as f64).max(1.0);
        let what = match row.measure {
            Measure::Cpu => "CPU",
            Measure::P50 => "median latency",
            Measure::P99 => "p99 latency",
            Measure::Memory => "memory",
            Measure::StartUp => "time",
            Measure::Throughput => "throughput",
        };
        let _ = write!(
            svg,
            "<text x=\"{x}\" y=\"{text}\" text-anchor=\"end\" fill=\"#1c2733\">{name}: {what}</text>\n\
             <rect x=\"{LEFT}\" y=\"{y}\" width=\"{full}\" height=\"16\" rx=\"3\" fill=\"#d7dee6\"/>\n\
             <rect x=\"{LEFT}\" y=\"{y}\" width=\"{bar:.1}\" height=\"16\" rx=\"3\" fill=\"#0b7a75\"/>\n\
             <text x=\"{value}\" y=\"{text}\" fill=\"#1c2733\">{ratio:.2}</text>\n",
            x = LEFT - 10,
            text = y + 13,
            name = row.workload,
            value = LEFT + full + 10,
            ratio = row.ratio(),
        );
    }
    svg + "</svg>\n"
}

/// Throughput on one machine with the clients measures mostly those.
fn is_shown(row: &Row) -> bool {
    row.measure != Measure::Throughput
}
