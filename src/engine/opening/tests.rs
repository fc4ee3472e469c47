//! Files that are opened, and what the kernel says they are by then.

use crate::engine::samples::disk::{World, lines, told};

#[test]
fn a_file_that_overlayfs_copies_up_while_it_is_read_is_the_file_that_it_was() {
    let mut world = World::new(false);
    for content in [Vec::new(), lines("line", 0..100)] {
        let (read, grown) = (told(&content).len(), lines("line", 0..110));
        world.make("app.log", &content);
        world.pass(6);
        assert_eq!(world.take().len(), read);
        world.copy_up("app.log");
        world.write("app.log", &grown);
        world.pass(30);
        assert_eq!(world.take(), told(&grown)[read..], "each line comes once");
        world.write("app.log", &lines("line", 0..120));
        world.pass(6);
        assert_eq!(world.take(), told(&lines("line", 110..120)));
        world.restart();
        world.pass(6);
        assert!(world.take().is_empty(), "nor does one come again after a restart");
    }
}

#[test]
fn a_new_file_of_the_name_is_no_copy_of_the_one_that_is_open() {
    let mut world = World::new(false);
    let content = lines("line", 0..100);
    world.make("app.log", &content);
    world.pass(6);
    drop(world.take());
    world.make("app.log", &content);
    world.pass(30);
    assert_eq!(world.take(), told(&content), "a job may say the same each time");
}

#[test]
fn where_no_birth_time_tells_a_file_under_another_device_number_is_known_by_all_of_its_content() {
    let mut world = World::new(false);
    world.mount(7);
    let content = lines("line", 0..100);
    world.make("app.log", &content);
    world.pass(6);
    assert_eq!(world.take(), told(&content));
    world.mount(8);
    world.write_silently("app.log", &lines("line", 0..120));
    world.restart();
    world.pass(10);
    assert_eq!(world.take(), told(&lines("line", 100..120)));
    assert_eq!(world.copied, 0, "it is the file itself");
    world.pass(30);
    world.restart();
    world.pass(10);
    assert!(world.take().is_empty(), "its new number is saved");
}

#[test]
fn l14_where_a_byte_differs_a_file_under_another_device_number_is_another() {
    for (at, len) in [(50, 500), (3_000, 500), (5_402, 500), (50, 10)] {
        let mut world = World::new(false);
        world.mount(7);
        let content = lines("line", 0..len);
        world.make("app.log", &content);
        world.pass(6);
        drop(world.take());
        let mut other = content.clone();
        other[at] = b'x';
        world.mount(8);
        world.write_silently("app.log", &other);
        world.restart();
        world.pass(30);
        assert_eq!(world.take(), told(&other), "another byte at {at}");
    }
}
