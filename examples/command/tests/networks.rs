//! Networks in which some of a receiver's addresses swallow what is sent to them.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use support::network::Network;
use support::process::Process;
use support::{Ran, World, text};

/// The port of an address.
fn port(address: &str) -> &str {
    address.rsplit_once(':').unwrap().1
}

#[test]
fn an_address_that_swallows_packets_hides_no_other() {
    let Some(network) = Network::new() else { return };
    let world = World::new();
    let receive = |listen: &str, advertise: &[String]| {
        let mut command = world.command("paris");
        command
            .args(["receive", "--name", "paris", "--listen", listen, "--into"])
            .arg(world.path("in"));
        command.args(advertise.iter().flat_map(|address| ["--advertise", address]));
        let process = Process::start(&mut network.on("paris", &command));
        let ticket = process.wait_for("ticket");
        (process, ticket)
    };
    let send = |name: &str, ticket: &str| {
        let file = world.file(name, 1000);
        let mut command = world.command("lyon");
        let ran = Ran::from(
            network
                .on("lyon", command.args(["send", "--name", "lyon"]).arg(file).arg(ticket))
                .output()
                .unwrap(),
        );
        assert!(ran.code == 0 && world.has_arrived(name), "{:?}", ran.events);
    };
    let (first, ticket) = receive("10.77.0.2:0", &[]);
    let good = text(&ticket, "addr");
    assert_eq!(first.terminate(), 0);
    let advertised = [format!("10.78.0.5:{}", port(&good)), good.clone()];
    let (second, ticket) = receive(&good, &advertised);
    send("by-ticket", &text(&ticket, "ticket"));
    // The trusted peer is redialled by what the ticket said.
    assert_eq!(second.terminate(), 0);
    let (_third, ticket) = receive(&good, &[format!("paris.test:{}", port(&good))]);
    send("by-name", &text(&ticket, "ticket"));
}

#[test]
fn a_receiver_takes_both_families_whatever_the_default_of_the_system_is() {
    let Some(network) = Network::new() else { return };
    network.separate_families("paris");
    let world = World::new();
    let mut command = world.command("paris");
    command.args(["receive", "--name", "paris", "--listen", "[::]:0", "--into"]);
    let paris = Process::start(&mut network.on("paris", command.arg(world.path("in"))));
    let ticket = paris.wait_for("ticket");
    let (file, at) =
        (world.file("by-v4", 1000), format!("10.77.0.2:{}", port(&text(&ticket, "addr"))));
    let mut command = world.command("lyon");
    command.args(["send", "--name", "lyon", "--addr", &at]).arg(file).arg(text(&ticket, "ticket"));
    let ran = Ran::from(network.on("lyon", &command).output().unwrap());
    assert!(ran.code == 0 && world.has_arrived("by-v4"), "{:?}", ran.events);
    assert_eq!(paris.terminate(), 0);
}

#[test]
fn an_address_that_swallows_packets_hides_no_word_of_another_and_is_named() {
    let Some(network) = Network::new() else { return };
    let world = World::new();
    let mut command = world.command("paris");
    command.args(["receive", "--name", "paris", "--listen", "10.77.0.2:0", "--into"]);
    let paris = Process::start(&mut network.on("paris", command.arg(world.path("in"))));
    let ticket = text(&paris.wait_for("ticket"), "ticket");
    let mut command = world.command("lyon");
    command.args(["send", "--name", "lyon", "--addr", "10.78.0.5:7400", "--addr", "10.77.0.2:1"]);
    command.arg(world.file("late", 1000)).arg(ticket);
    let ran = Ran::from(network.on("lyon", &command).output().unwrap());
    let said = format!("{:?}", ran.events);
    assert_ne!(ran.code, 0);
    assert!(said.contains("10.78.0.5:7400: no answer within 5s"), "{said}");
    assert!(said.contains("10.77.0.2:1: Connection refused"), "{said}");
    assert_eq!(paris.terminate(), 0);
}

#[test]
fn an_address_of_a_link_is_dialled_by_its_interface_wherever_that_can_be_looked_up() {
    let Some(network) = Network::new() else { return };
    network.address_links();
    let world = World::new();
    let mut command = world.command("paris");
    command.args([
        "receive",
        "--name",
        "paris",
        "--listen",
        "[::]:0",
        "--redeemers",
        "9",
        "--into",
    ]);
    let paris = Process::start(&mut network.on("paris", command.arg(world.path("in"))));
    let ticket = paris.wait_for("ticket");
    let (there, ticket) = (text(&ticket, "addr"), text(&ticket, "ticket"));
    let send = |name: &str, zone: &str| {
        let mut command = world.command("lyon");
        command.args(["send", "--addr", &format!("[fe80::2%{zone}]:{}", port(&there))]);
        command.arg(world.file(name, 1000)).arg(&ticket);
        command
    };
    let ran = Ran::from(network.on("lyon", &send("seen", "va")).output().unwrap());
    assert!(ran.code == 0 && world.has_arrived("seen"), "{:?}", ran.events);
    let ran = Ran::from(network.on_without_sys("lyon", &send("unseen", "va")).output().unwrap());
    assert!(ran.code == 0 && world.has_arrived("unseen"), "{:?}", ran.events);
    let ran = Ran::from(network.on("lyon", &send("nowhere", "vx")).output().unwrap());
    let said = text(ran.event("error"), "message");
    assert!(ran.code == 4 && said.contains("no network interface \"vx\""), "{said}");
    assert_eq!(paris.terminate(), 0);
}
