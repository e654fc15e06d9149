//! `netlog-lab`: the live lab from the command line.
use netlog_lab::{Lab, Options};

fn main() -> Result<(), netlog_lab::LabError> {
    let lab = Lab::start(&Options::default())?;
    println!("{}", lab.run_dir().display());
    println!("{}", lab.ovs_vsctl(&["show"])?);
    lab.stop()
}
