//! Which driver a GPU has: what was found out about one is true until it is replaced.

/// Name and version of the driver of the GPU with this name; empty where nothing tells it.
#[cfg(feature = "vulkan")]
#[allow(unsafe_code)]
pub fn version(gpu: &str) -> String {
    use ash::vk;

    let entry = ash::Entry::linked();
    let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_2);
    let create = vk::InstanceCreateInfo::default().application_info(&application);
    // SAFETY: what is passed outlives the call.
    let Ok(instance) = (unsafe { entry.create_instance(&create, None) }) else {
        return String::new();
    };
    // SAFETY: the instance lives until the end, and nothing that came of it is used behind that.
    unsafe {
        let devices = instance.enumerate_physical_devices().unwrap_or_default();
        let found = devices.into_iter().find_map(|device| {
            let mut driver = vk::PhysicalDeviceDriverProperties::default();
            let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut driver);
            instance.get_physical_device_properties2(device, &mut properties);
            let properties = properties.properties;
            let name = properties.device_name_as_c_str().unwrap_or_default();
            (name.to_string_lossy().trim() == gpu).then(|| {
                let name = driver.driver_name_as_c_str().unwrap_or_default();
                let info = driver.driver_info_as_c_str().unwrap_or_default();
                let (name, info) = (name.to_string_lossy(), info.to_string_lossy());
                // Of the maker's own counting, and there for every driver.
                format!("{name} {info} ({:#x})", properties.driver_version)
            })
        });
        instance.destroy_instance(None);
        found.unwrap_or_default()
    }
}

/// What CUDA the driver is for, which changes with every branch of it, and the driver's own version
/// where a file tells it.
#[cfg(feature = "cuda")]
#[allow(unsafe_code)]
pub fn version(_: &str) -> String {
    unsafe extern "C" {
        fn cudaDriverGetVersion(version: *mut std::ffi::c_int) -> std::ffi::c_int;
    }
    let mut cuda = 0;
    // SAFETY: the runtime writes one number.
    unsafe { cudaDriverGetVersion(&raw mut cuda) };
    let (major, minor) = (cuda / 1000, cuda % 1000 / 10);
    let told = std::fs::read_to_string("/proc/driver/nvidia/version").unwrap_or_default();
    let module = told.lines().next().unwrap_or_default();
    let version = module
        .split_whitespace()
        .find(|word| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit()));
    match version {
        Some(version) => format!("NVIDIA {version} (CUDA {major}.{minor})"),
        None => format!("NVIDIA (CUDA {major}.{minor})"),
    }
}

/// The driver is the system's.
#[cfg(not(any(feature = "vulkan", feature = "cuda")))]
pub fn version(_: &str) -> String {
    String::new()
}
