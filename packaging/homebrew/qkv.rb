# Version, hash and resources are written by packaging/recipes.py.
class Qkv < Formula
  include Language::Python::Virtualenv

  desc "Attention explorer: look up, pool and draw with queries, keys and values"
  homepage "https://pypi.org/project/qkvcli/"
  url "https://files.pythonhosted.org/packages/source/q/qkvcli/qkvcli-0.2.0.tar.gz"
  sha256 "0000000000000000000000000000000000000000000000000000000000000000"
  license "MIT"

  depends_on "cmake" => :build # rapidfuzz
  depends_on "ninja" => :build # rapidfuzz
  depends_on "numpy"
  depends_on "python-matplotlib"
  depends_on "python@3.13"
  depends_on "scipy"

  # Resources: written by packaging/recipes.py
  resource "annotated-doc" do
    url "https://files.pythonhosted.org/packages/source/a/annotated-doc/annotated_doc-0.0.7.tar.gz"
    sha256 "0a30ef8f5322a4173720ae6712dc9a5e58f5a19868f3f167b4b5778db066c2b5"
  end

  resource "markdown-it-py" do
    url "https://files.pythonhosted.org/packages/source/m/markdown-it-py/markdown_it_py-4.3.0.tar.gz"
    sha256 "91a58fa5b72c71a40cf7177250fd767480d7a2bb3ac426ccfb76fb90305fdaaa"
  end

  resource "mdurl" do
    url "https://files.pythonhosted.org/packages/source/m/mdurl/mdurl-0.1.2.tar.gz"
    sha256 "bb413d29f5eea38f31dd4754dd7377d4465116fb207585f97bf925588687c1ba"
  end

  resource "pygments" do
    url "https://files.pythonhosted.org/packages/source/p/pygments/pygments-2.21.0.tar.gz"
    sha256 "610ca751c9bc2492b38eb9a38a7fbc93edbbb2d7182edaf34e66ae493dee5c8c"
  end

  resource "rapidfuzz" do
    url "https://files.pythonhosted.org/packages/source/r/rapidfuzz/rapidfuzz-3.14.6.tar.gz"
    sha256 "e13a8160d017b499ec7a2fa9d0ce1ae2e7377080815785819f966fb235d4eb60"
  end

  resource "rich" do
    url "https://files.pythonhosted.org/packages/source/r/rich/rich-15.0.0.tar.gz"
    sha256 "edd07a4824c6b40189fb7ac9bc4c52536e9780fbbfbddf6f1e2502c31b068c36"
  end

  resource "shellingham" do
    url "https://files.pythonhosted.org/packages/source/s/shellingham/shellingham-1.5.4.tar.gz"
    sha256 "8dbca0739d487e5bd35ab3ca4b36e11c4078f3a234bfce294b0a0291363404de"
  end

  resource "threadpoolctl" do
    url "https://files.pythonhosted.org/packages/source/t/threadpoolctl/threadpoolctl-3.8.0.tar.gz"
    sha256 "01080674ad7ac6182429c918a79de92da789bb448acc02fc0b620b1abd6b6137"
  end

  resource "typer" do
    url "https://files.pythonhosted.org/packages/source/t/typer/typer-0.28.0.tar.gz"
    sha256 "69ab84ef79fd601cff071bbd2566d855ecadfd93adbc4b3360b9924359bdd857"
  end

  def install
    virtualenv_install_with_resources
    # The man pages are linked by the line above, from share/man of the wheel.
    bash_completion.install "packaging/completions/qkv.bash" => "qkv"
    zsh_completion.install "packaging/completions/_qkv"
    fish_completion.install "packaging/completions/qkv.fish"
  end

  test do
    assert_equal "Mu", shell_output("#{bin}/qkv lookup Li --format value").strip
    system bin/"qkv", "lookup", "Lipten", "--mode", "softmax", "-o", "flow.svg"
    assert_path_exists testpath/"flow.svg"
    assert_match version.to_s, shell_output("#{bin}/qkv --version")
  end
end
