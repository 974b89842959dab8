//! A guest at work: from linked code to an instance that serves one request or many.

pub(crate) mod blueprint;
pub(crate) mod component_code;
pub(crate) mod cpu_meter;
pub(crate) mod free_instances;
pub(crate) mod fresh;
pub(crate) mod guest_wakes;
pub(crate) mod hooks;
pub(crate) mod idle_room;
pub(crate) mod instance;
pub(crate) mod instance_pool;
pub(crate) mod instance_task;
pub(crate) mod keeper;
pub(crate) mod linked_code;
pub(crate) mod p2;
pub(crate) mod p3;
pub(crate) mod pooled_instance;
pub(crate) mod settings;
pub(crate) mod shared_guest;
pub(crate) mod smoke;
pub(crate) mod trial;
pub(crate) mod warm_trial;
pub(crate) mod worker;
