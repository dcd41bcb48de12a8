// Airflow's own choice between light and dark, which is not the system's; this page stands in a frame of its UI, or alone.
(() => {
  const airflow = () => {
    try {
      return window.parent.document.documentElement;
    } catch {
      return document.documentElement; // in a frame of somebody else
    }
  };
  const stored = () => {
    try {
      return window.localStorage.getItem("theme");
    } catch {
      return null;
    }
  };
  const follow = () => {
    const names = airflow().classList;
    const chosen = names.contains("dark") ? "dark" : names.contains("light") ? "light" : stored();
    document.documentElement.style.colorScheme = chosen === "dark" || chosen === "light" ? chosen : "light dark";
  };
  const framed = window.parent !== window;
  document.documentElement.toggleAttribute("data-framed", framed);
  follow();
  if (framed) {
    new MutationObserver(follow).observe(airflow(), { attributeFilter: ["class"] });
  }
})();
