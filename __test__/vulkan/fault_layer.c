/*
 * A Vulkan layer whose GPU fails on purpose, below ggml and above the driver. What it does is in the
 * file that OPUSCRIBE_FAULT_FILE names: `lost`, and the next work that is submitted finds the device
 * lost, for good, and the file is gone; `stuck`, and it waits until the file says something else, and
 * leaves one with `.stuck` behind its name; `full`, and no memory is given; `none`, and no device is.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vulkan/vk_layer.h>
#include <vulkan/vulkan.h>

/* One driver: whichever instance and device came last, what is below them is the same. */
static PFN_vkGetInstanceProcAddr instance_below;
static PFN_vkGetDeviceProcAddr device_below;
static PFN_vkQueueSubmit submit_below;
static PFN_vkAllocateMemory allocate_below;
static atomic_int is_lost;

static int asked_for(const char *fault) {
    const char *path = getenv("OPUSCRIBE_FAULT_FILE");
    FILE *file = path ? fopen(path, "r") : NULL;
    char asked[8] = "";
    if (file) {
        if (!fgets(asked, sizeof asked, file)) asked[0] = 0;
        fclose(file);
    }
    return strcmp(asked, fault) == 0;
}

static VkResult VKAPI_CALL submit(VkQueue queue, uint32_t count, const VkSubmitInfo *work,
                                  VkFence fence) {
    if (asked_for("stuck")) {
        char path[4096];
        snprintf(path, sizeof path, "%s.stuck", getenv("OPUSCRIBE_FAULT_FILE"));
        FILE *file = fopen(path, "w");
        if (file) fclose(file);
        while (asked_for("stuck")) usleep(1000);
    }
    if (!is_lost && asked_for("lost")) {
        is_lost = 1;
        unlink(getenv("OPUSCRIBE_FAULT_FILE"));
    }
    return is_lost ? VK_ERROR_DEVICE_LOST : submit_below(queue, count, work, fence);
}

static VkResult VKAPI_CALL allocate(VkDevice device, const VkMemoryAllocateInfo *what,
                                    const VkAllocationCallbacks *callbacks,
                                    VkDeviceMemory *memory) {
    if (asked_for("full")) return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    return allocate_below(device, what, callbacks, memory);
}

/* The next layer's place in what the loader passes. */
static VkLayerInstanceCreateInfo *instance_link(const void *next) {
    VkLayerInstanceCreateInfo *link = (VkLayerInstanceCreateInfo *)next;
    while (link && (link->sType != VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO ||
                    link->function != VK_LAYER_LINK_INFO)) {
        link = (VkLayerInstanceCreateInfo *)link->pNext;
    }
    return link;
}

static VkLayerDeviceCreateInfo *device_link(const void *next) {
    VkLayerDeviceCreateInfo *link = (VkLayerDeviceCreateInfo *)next;
    while (link && (link->sType != VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO ||
                    link->function != VK_LAYER_LINK_INFO)) {
        link = (VkLayerDeviceCreateInfo *)link->pNext;
    }
    return link;
}

static VkResult VKAPI_CALL create_instance(const VkInstanceCreateInfo *info,
                                           const VkAllocationCallbacks *callbacks,
                                           VkInstance *instance) {
    VkLayerInstanceCreateInfo *link = instance_link(info->pNext);
    if (!link) return VK_ERROR_INITIALIZATION_FAILED;
    instance_below = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    PFN_vkCreateInstance create =
        (PFN_vkCreateInstance)instance_below(VK_NULL_HANDLE, "vkCreateInstance");
    return create(info, callbacks, instance);
}

static VkResult VKAPI_CALL create_device(VkPhysicalDevice physical, const VkDeviceCreateInfo *info,
                                         const VkAllocationCallbacks *callbacks, VkDevice *device) {
    VkLayerDeviceCreateInfo *link = device_link(info->pNext);
    if (!link || asked_for("none")) return VK_ERROR_INITIALIZATION_FAILED;
    PFN_vkGetInstanceProcAddr below = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    device_below = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    PFN_vkCreateDevice create = (PFN_vkCreateDevice)below(VK_NULL_HANDLE, "vkCreateDevice");
    VkResult result = create(physical, info, callbacks, device);
    if (result == VK_SUCCESS) {
        submit_below = (PFN_vkQueueSubmit)device_below(*device, "vkQueueSubmit");
        allocate_below = (PFN_vkAllocateMemory)device_below(*device, "vkAllocateMemory");
    }
    return result;
}

static PFN_vkVoidFunction of_device(const char *name) {
    if (strcmp(name, "vkQueueSubmit") == 0) return (PFN_vkVoidFunction)submit;
    if (strcmp(name, "vkAllocateMemory") == 0) return (PFN_vkVoidFunction)allocate;
    return NULL;
}

static PFN_vkVoidFunction VKAPI_CALL device_function(VkDevice device, const char *name) {
    PFN_vkVoidFunction ours = of_device(name);
    if (strcmp(name, "vkGetDeviceProcAddr") == 0) return (PFN_vkVoidFunction)device_function;
    return ours ? ours : device_below(device, name);
}

static PFN_vkVoidFunction VKAPI_CALL instance_function(VkInstance instance, const char *name) {
    if (strcmp(name, "vkGetInstanceProcAddr") == 0) return (PFN_vkVoidFunction)instance_function;
    if (strcmp(name, "vkGetDeviceProcAddr") == 0) return (PFN_vkVoidFunction)device_function;
    if (strcmp(name, "vkCreateInstance") == 0) return (PFN_vkVoidFunction)create_instance;
    if (strcmp(name, "vkCreateDevice") == 0) return (PFN_vkVoidFunction)create_device;
    PFN_vkVoidFunction ours = of_device(name);
    return ours ? ours : instance_below(instance, name);
}

__attribute__((visibility("default"))) VkResult VKAPI_CALL
vkNegotiateLoaderLayerInterfaceVersion(VkNegotiateLayerInterface *with) {
    with->loaderLayerInterfaceVersion = 2;
    with->pfnGetInstanceProcAddr = instance_function;
    with->pfnGetDeviceProcAddr = device_function;
    with->pfnGetPhysicalDeviceProcAddr = NULL;
    return VK_SUCCESS;
}
