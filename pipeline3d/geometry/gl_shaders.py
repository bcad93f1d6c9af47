"""The formulas of `shading` once more, for graphics hardware. Both change together; a test compares them."""

from __future__ import annotations

from pipeline3d.geometry import shading
from pipeline3d.geometry.colour_space import DESATURATION, SHOULDER
from pipeline3d.geometry.mesh import ROUGHNESS

VERTEX = """
#version 330
uniform vec3 eye;
uniform mat3 axes;  // rows: right, up, forward
uniform float zoom;  // focal length over half the side
uniform vec2 range;  // nearest and farthest depth
in vec3 position; in vec3 normal; in vec2 uv; in vec4 colour;
out vec3 place; out vec3 smooth_normal; out vec2 at; out vec4 tint;
void main() {
    vec3 seen = axes * (position - eye);
    float depth = (seen.z * (range.y + range.x) - 2.0 * range.x * range.y) / (range.y - range.x);
    gl_Position = vec4(seen.x * zoom, -seen.y * zoom, depth, seen.z);  // upside down: read from the top
    place = position; smooth_normal = normal; at = uv; tint = colour;
}
"""

CONSTANTS = f"""#version 330
const float MATT = {ROUGHNESS}, LEAST_ROUGHNESS = {shading.LEAST_ROUGHNESS}, LAMP = {shading.LAMP};
const float DIELECTRIC = {shading.DIELECTRIC}, GLOSS_RANGE = {shading.GLOSS_RANGE};
const float SKY = {shading.SKY}, GROUND = {shading.GROUND};
const float BOX = {shading.SOFT_BOX}, BOX_AT = {shading.SOFT_BOX_AT};
const float SHOULDER = {SHOULDER}, DESATURATION = {DESATURATION};
"""

FRAGMENT = (
    CONSTANTS
    + """
uniform vec3 eye; uniform mat3 axes;
uniform float key, fill, ambient, mirrored, key_wrap, fill_wrap;
uniform vec3 key_direction, fill_direction;  // in the camera's axes, unit
uniform vec4 base_factor; uniform vec3 emissive_factor;
uniform float metallic_factor, roughness_factor, normal_scale, occlusion_strength, alpha_cutoff;
uniform int alpha_mode, wrap;  // 0 opaque, 1 mask, 2 blend; 0 clamp, 1 repeat, 2 mirror
uniform bool matt, has_base, has_metallic_roughness, has_normal, has_occlusion, has_emissive;
uniform sampler2D base_map, metallic_roughness_map, normal_map, occlusion_map, emissive_map;
in vec3 place; in vec3 smooth_normal; in vec2 at; in vec4 tint;
out vec4 result;

vec4 look_up(sampler2D map) {
    vec2 uv = wrap == 1 ? fract(at) : wrap == 2 ? abs(at - 2.0 * round(at / 2.0)) : clamp(at, 0.0, 1.0);
    return textureGrad(map, uv, dFdx(at), dFdy(at));
}

vec3 bend(vec3 n, vec3 sampled) {
    vec3 bent = sampled * 2.0 - 1.0;
    vec3 p1 = dFdx(place), p2 = dFdy(place);
    vec2 t1 = dFdx(at), t2 = dFdy(at);
    float way = sign(t1.x * t2.y - t2.x * t1.y);
    vec3 u = (p1 * t2.y - p2 * t1.y) * way, v = (p1 * t2.x - p2 * t1.x) * way;
    u = normalize(u - n * dot(n, u)); v = normalize(v - n * dot(n, v));
    return normalize(u * bent.x * normal_scale + v * bent.y * normal_scale + n * max(bent.z, 0.05));
}

float lambert(vec3 n, vec3 direction, float wide) {
    return clamp((dot(n, direction) + wide) / (1.0 + wide), 0.0, 1.0);
}

float lobe(vec3 n, vec3 to_eye, vec3 towards, float roughness) {
    vec3 middle = normalize(to_eye + towards);
    float width = min(roughness * roughness + LAMP, 1.0);
    float cosine = clamp(dot(n, middle), 0.0, 1.0);
    float spread = cosine * cosine * (width * width - 1.0) + 1.00001;
    float grazing = max(pow(dot(middle, towards), 2.0), 0.1);
    return width * width / (spread * spread * grazing * (4.0 * roughness + 2.0))
        * clamp(dot(n, towards), 0.0, 1.0);
}

float studio(vec3 n, vec3 to_eye, float facing, float roughness) {
    vec3 up = vec3(axes[1][0], axes[1][1], -axes[1][2]);
    float height = dot(n * 2.0 * facing - to_eye, up);
    float share = clamp(0.5 + height / (2.0 * (0.1 + 0.9 * roughness)), 0.0, 1.0);
    share = share * share * (3.0 - 2.0 * share);
    float box = exp(-pow((height - BOX_AT) / (0.16 + 0.6 * roughness), 2.0)) / (1.0 + 1.5 * roughness);
    return GROUND + (SKY - GROUND) * share + BOX * box;
}

vec3 compress(vec3 light) {
    float peak = max(light.r, max(light.g, light.b));
    if (peak <= SHOULDER) return light;
    float room = 1.0 - SHOULDER, after = 1.0 - room * room / (peak + room - SHOULDER);
    return mix(light * after / peak, vec3(after), 1.0 - 1.0 / (DESATURATION * (peak - after) + 1.0));
}

void main() {
    vec4 base = base_factor * tint;
    if (has_base) base *= look_up(base_map);
    float alpha = clamp(base.a, 0.0, 1.0);
    if (alpha_mode == 0) alpha = 1.0;
    if (alpha_mode == 1) alpha = float(base.a >= alpha_cutoff);
    vec3 n = normalize(smooth_normal);
    if (!gl_FrontFacing) n = -n;
    if (has_normal) n = bend(n, look_up(normal_map).rgb);
    float open_share = has_occlusion ? 1.0 + occlusion_strength * (look_up(occlusion_map).r - 1.0) : 1.0;
    vec3 local = axes * n; local.z = -local.z;
    float diffuse = ambient * (0.85 + 0.15 * n.y) * open_share
        + key * lambert(local, key_direction, key_wrap) + fill * lambert(local, fill_direction, fill_wrap);
    vec3 light = base.rgb * diffuse;
    if (!matt) {
        vec2 both = vec2(roughness_factor, metallic_factor);
        if (has_metallic_roughness) both *= look_up(metallic_roughness_map).gb;
        float roughness = clamp(both.x, LEAST_ROUGHNESS, 1.0), metallic = clamp(both.y, 0.0, 1.0);
        vec3 to_eye = axes * (eye - place); to_eye.z = -to_eye.z; to_eye = normalize(to_eye);
        float facing = clamp(dot(local, to_eye), 1e-3, 1.0);
        float gloss = clamp((MATT - roughness) / GLOSS_RANGE, 0.0, 1.0) * (1.0 - metallic);
        vec3 at_normal = DIELECTRIC * gloss + base.rgb * metallic;
        float rx = 1.0 - roughness;
        float edge = min(rx * rx, exp2(-9.28 * facing)) * rx + 0.0425 - 0.0275 * roughness;
        float scale = 1.04 - 0.572 * roughness - 1.04 * edge, bias = 0.022 * roughness - 0.04 + 1.04 * edge;
        vec3 mirror = (at_normal * scale + bias * max(gloss, metallic))
            * studio(local, to_eye, facing, roughness) * open_share;
        mirror += at_normal * key * lobe(local, to_eye, key_direction, roughness);
        mirror += at_normal * fill * lobe(local, to_eye, fill_direction, roughness);
        light = base.rgb * diffuse * (1.0 - metallic) + mirrored * mirror;
    }
    light += has_emissive ? emissive_factor * look_up(emissive_map).rgb : emissive_factor;
    if (alpha <= 0.0) discard;
    result = vec4(compress(light) * alpha, alpha);
}
"""
)
