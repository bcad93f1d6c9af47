"""A wrapper sees what it needs and never a secret."""

from pipeline3d.generation.serving import reduce_environment

OURS = {
    "PATH": "/bin",
    "LC_ALL": "C",
    "HF_HOME": "/hf",
    "DATABASE_URL": "postgresql://a:b@c",
    "MINIO_SECRET_KEY": "s",
    "MINIO_ACCESS_KEY": "a",
    "LINK_SIGNING_KEY": "k",
    "HF_TOKEN": "t",
    "SF3D_PYTHON_PATH": "/venv/bin/python",
    "EDITOR": "vi",
}


def test_only_allowed_names_and_its_own_are_passed_on():
    assert reduce_environment(OURS) == {"PATH": "/bin", "LC_ALL": "C", "HF_HOME": "/hf"}
    seen = reduce_environment(
        OURS, own=["SF3D_PYTHON_PATH", "SF3D_MISSING"], given={"CUDA_VISIBLE_DEVICES": "1"}
    )
    assert seen["SF3D_PYTHON_PATH"] == "/venv/bin/python"
    assert seen["CUDA_VISIBLE_DEVICES"] == "1"
    assert "SF3D_MISSING" not in seen


def test_a_secret_is_not_passed_on_even_to_a_wrapper_that_asks_for_it():
    asked = ["DATABASE_URL", "MINIO_SECRET_KEY", "MINIO_ACCESS_KEY", "LINK_SIGNING_KEY", "HF_TOKEN"]
    assert reduce_environment(OURS, own=asked, given={"MY_API_KEY": "x"}) == reduce_environment(OURS)
